r"""Trains and evaluates a model as a config file describes it.

    python -m cifsel.main --config=configs/quickstart.py --workdir=/tmp/quickstart
    python -m cifsel.main --config=configs/effnet.py:probe --config.image_size=96 \
        --workdir=/tmp/effnet-96
    python -m cifsel.main --config=configs/selfie.py --config.photos=~/selfies \
        --config.init_from=/tmp/task1 --workdir=/tmp/selfie

The same command goes on with a run that was stopped. Exit codes: 0 done, 1 a defect of the program,
2 an input or the machine cannot be used, 75 try again, 130 Ctrl-C, 141 nobody reads the output.
"""

from collections.abc import Sequence

from absl import app, flags

from cifsel.config import flag, validate
from cifsel.runtime import command

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
    """Does what the config asks for."""
    from cifsel import api  # Not at the top, as --help does without it.

    config = flag.CONFIG.value
    validate(config)
    api.carry_out(config, _WORKDIR.value or "")


if __name__ == "__main__":
    app.run(main, flags_parser=flag.parse_flags)
