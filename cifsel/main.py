"""The command: python -m cifsel.main --config=configs/effnet.py --workdir=/tmp/effnet."""

import itertools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

# Before JAX and TensorFlow load: what they print at start-up is not about the run.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
from absl import app, flags
from ml_collections import ConfigDict, config_flags

from cifsel import command, sharding, summaries, terminal, train, workdir
from cifsel import config as config_lib
from cifsel.errors import UserError
from cifsel.terminal import say
from cifsel.validation import validate

# Configs import configs.common, from whichever folder the command is given in.
sys.path.append(str(Path(__file__).parents[1]))

FLAGS = flags.FLAGS
CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "What to run, such as configs/effnet.py or configs/effnet.py:probe; change any field with"
    " --config.FIELD=VALUE (configs/common.py lists them, for task 2 configs/selfie.py).",
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where the run keeps everything; default: runs/<config>-<recipe>."
)


def run() -> None:
    """Runs what the flags say."""
    config = CONFIG.value
    validate(config)
    if config.task == "task1":
        with sharding.connected(config.distributed, config.processes, config.process):
            terminal.console.quiet = not sharding.is_main()
            _begin(config, train.train_and_evaluate)
    elif config.task == "selfie":
        from cifsel import selfie  # scikit-learn takes a second to import, and task 1 needs none.

        _begin(config, selfie.run)
    else:
        from cifsel import quickstart

        _begin(config, lambda config, folder, _: quickstart.run(config, folder))


def _begin(config: ConfigDict, task: Callable[[ConfigDict, str, summaries.Writer], object]) -> None:
    folder = _WORKDIR.value or workdir.default(config.name, config.recipe)
    devices = jax.devices()
    say(f"{len(devices)} x {devices[0].device_kind} ({jax.default_backend()}), workdir {folder}")
    with summaries.open_writer(folder) as writer:  # Makes a file only when it is written to.
        task(config, folder, writer)


def main(argv: Sequence[str]) -> None:
    """Runs, and turns what can go wrong into one line and an exit status."""
    if len(argv) > 1:
        command.stop(f"unexpected argument {argv[1]!r}: flags are written --flag=value")
    command.guarded(run)


def parse_flags(argv: Sequence[str]) -> Sequence[str]:
    """Parses the command line; what is wrong with it becomes one line."""
    if {"--help", "--helpshort", "--helpfull"} & set(argv):
        return FLAGS(argv)  # Says it, and ends the process.
    files = [word.removeprefix("--config=") for word in argv if word.startswith("--config=")]
    files += [after for word, after in itertools.pairwise(argv) if word == "--config"]
    if not files:
        command.stop("--config is missing: give --config=configs/effnet.py, for example")
    try:
        config_lib.check_file(files[-1])
        rest = FLAGS(argv)
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


if __name__ == "__main__":
    command.start()
    app.run(main, flags_parser=parse_flags)
