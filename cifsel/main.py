r"""Trains and evaluates what a config file describes, for either task.

    python -m cifsel.main --config=configs/quickstart.py --workdir=/tmp/quickstart
    python -m cifsel.main --config=configs/effnet.py:probe --config.image_size=96 \
        --workdir=/tmp/effnet-96
    python -m cifsel.main --config=configs/selfie.py --config.photos=~/selfies \
        --config.init_from=/tmp/task1 --workdir=/tmp/selfie

The same command goes on with a run that was stopped.
"""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

# Before JAX and TensorFlow load: what they print at start-up is not about the run.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# JAX is imported where it is needed: who asks for help, or mistypes a file, should not wait for it.
from absl import app, flags
from ml_collections import ConfigDict

from cifsel import terminal
from cifsel.config import flag
from cifsel.runtime import command
from cifsel.terminal import say

if TYPE_CHECKING:
    from cifsel.workdir.summaries import Writer

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where the run keeps everything; default: runs/<config>-<recipe>."
)


def run() -> None:
    """Runs what the flags say."""
    from cifsel import train
    from cifsel.config.validation import validate
    from cifsel.runtime import sharding

    config = flag.CONFIG.value
    validate(config)
    if config.task == "task1":
        with sharding.connected(config.distributed, config.processes, config.process):
            terminal.console.quiet = not sharding.is_main()
            _begin(config, train.train_and_evaluate)
    elif config.task == "selfie":
        # scikit-learn takes a second to import, and task 1 needs none.
        from cifsel.selfie.run import evaluate_and_train

        _begin(config, evaluate_and_train)
    else:
        from cifsel import quickstart

        _begin(config, lambda config, folder, _: quickstart.run(config, folder))


def _begin(config: ConfigDict, task: "Callable[[ConfigDict, str, Writer], object]") -> None:
    import jax

    from cifsel import workdir
    from cifsel.workdir import summaries

    folder = _WORKDIR.value or workdir.default(config.name, config.recipe)
    devices = jax.devices()
    say(f"{len(devices)} x {devices[0].device_kind} ({jax.default_backend()}), workdir {folder}")
    with summaries.open_writer(folder) as writer:  # Makes a file only when it is written to.
        task(config, folder, writer)


def main(argv: Sequence[str]) -> None:
    """Runs, and turns what can go wrong into one line and an exit status."""
    if len(argv) > 1:
        command.stop(f"unexpected argument {argv[1]!r}: flags are written --flag=value")
    command.start()
    command.guarded(run)


if __name__ == "__main__":
    app.run(main, flags_parser=flag.parse_flags)
