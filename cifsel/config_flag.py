"""The flag --config of the commands that take one, and one line for what is wrong with it."""

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from cifsel import command
from cifsel import config as config_lib
from cifsel.errors import UserError

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
    if {"--help", "--helpshort", "--helpfull"} & set(argv):
        return flags.FLAGS(argv)  # Says it, and ends the process.
    files = [word.removeprefix("--config=") for word in argv if word.startswith("--config=")]
    files += [after for word, after in itertools.pairwise(argv) if word == "--config"]
    if not files:
        command.stop("--config is missing: give --config=configs/effnet.py, for example")
    try:
        config_lib.check_file(files[-1])
        rest = flags.FLAGS(argv)
        CONFIG.value.lock()  # A file that could not be read says so only when it is used.
    except UserError as error:
        command.stop(str(error))
    except (Exception, SystemExit) as error:
        try:  # Of its own, without the other flags.
            config = config_lib.load(files[-1])
        except UserError as own:
            command.stop(str(own))
        command.stop(config_lib.explain(error, config))
    return rest
