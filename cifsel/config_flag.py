"""The flag --config of the commands that take one, and one line for what is wrong with it."""

import contextlib
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from cifsel import command
from cifsel import config as config_lib

# Configs import configs.common, from whichever folder the command is given in.
sys.path.append(str(Path(__file__).parents[1]))

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "What to run, such as configs/effnet.py or configs/effnet.py:probe; change any field with"
    " --config.FIELD=VALUE (configs/common.py lists them, for task 2 configs/selfie.py).",
)


def parse_flags(argv: Sequence[str]) -> Sequence[str]:
    """Parses the command line; what is wrong with it becomes one line."""
    given = {"--config", "--help", "--helpshort", "--helpfull"}
    if not any(word.split("=")[0] in given for word in argv):
        command.stop("--config is missing: give --config=configs/effnet.py, for example")
    from configs import common  # Only the running command knows that this can be imported.

    try:
        rest = flags.FLAGS(argv)
        CONFIG.value.lock()  # A file that could not be read says so only when it is used.
    except OSError as error:
        command.stop(f"--config cannot be read: {str(error.__cause__).splitlines()[-1].strip()}")
    except Exception as error:
        command.stop(config_lib.explain(error, _fresh(argv) or common.get_config()))
    return rest


def _fresh(argv: Sequence[str]) -> ConfigDict | None:
    """The config of the file that was asked for, without changes; None if it gives none."""
    files = [word.removeprefix("--config=") for word in argv if word.startswith("--config=")]
    with contextlib.suppress(Exception):  # What is wrong with the file has been found already.
        return runpy.run_path(files[-1].partition(":")[0])["get_config"]()
    return None
