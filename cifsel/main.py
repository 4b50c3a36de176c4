r"""Trains and evaluates a model as a config file describes it.

    python -m cifsel.main --config=configs/quickstart.py --workdir=/tmp/quickstart
    python -m cifsel.main --config=configs/effnet.py:probe --config.image_size=96 \
        --workdir=/tmp/effnet-96
    python -m cifsel.main --config=configs/selfie.py --config.photos=~/selfies \
        --config.init_from=/tmp/task1 --workdir=/tmp/selfie

The same command goes on with a run that was stopped. Exit codes: 0 done, 1 a defect of the program,
2 an input or the machine cannot be used, 75 try again, 130 Ctrl-C, 141 nobody reads the output.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

# JAX is imported inside functions, so that --help and a mistyped file do not wait for it.
from absl import app, flags
from ml_collections import ConfigDict

from cifsel.config import flag, validate
from cifsel.runtime import command, terminal
from cifsel.runtime.paths import expanded
from cifsel.runtime.terminal import say

if TYPE_CHECKING:
    from cifsel.workdir.summaries import Writer

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where the run keeps everything; default: runs/<config>-<recipe>."
)


def main(argv: Sequence[str]) -> None:
    """Runs the command, and turns what can go wrong into one line and an exit code."""
    if len(argv) > 1:
        command.stop(f"unexpected argument {argv[1]!r}: flags are written --flag=value")
    command.start()
    command.guarded(run)


def run() -> None:
    """Hands the config to the task that it names."""
    config = flag.CONFIG.value
    validate(config)
    # The tasks are imported after that, so that mistakes in a config are said at once.
    if config.task == "task1":
        from cifsel import task1
        from cifsel.runtime import sharding

        with sharding.connected(config.distributed, config.processes, config.process):
            terminal.console.quiet = not sharding.is_main()
            _begin(config, task1.train_and_evaluate)
    elif config.task == "selfie":
        # scikit-learn takes a second to import, and task 1 needs none.
        from cifsel.selfie.run import evaluate_and_train

        _begin(config, evaluate_and_train)
    else:
        from cifsel import sweep

        _begin(config, lambda config, folder, _: sweep.quickstart(config, folder))


def _begin(config: ConfigDict, task: "Callable[[ConfigDict, str, Writer], object]") -> None:
    """Starts a task: chooses its workdir, says where it runs, and opens its summaries."""
    import jax

    from cifsel import workdir
    from cifsel.workdir import summaries

    folder = expanded(_WORKDIR.value or "") or workdir.default(config.name, config.recipe)
    devices = jax.devices()
    say(f"{len(devices)} x {devices[0].device_kind} ({jax.default_backend()}), workdir {folder}")
    with summaries.open_writer(folder) as writer:  # Makes a file only when it is written to.
        task(config, folder, writer)


if __name__ == "__main__":
    app.run(main, flags_parser=flag.parse_flags)
