"""Transfer learning on small image sets: trains a classifier, says how good it is, and uses it.

    python -m cifsel train --config=effnet.py:probe --workdir=/tmp/effnet
    python -m cifsel predict --checkpoint=/tmp/effnet photo.jpg

Each command explains itself: python -m cifsel train --help
"""

import os
import re
import runpy
import sys
from typing import NamedTuple

from cifsel.runtime import starting, typed


class Command(NamedTuple):
    """A sub-command: the module that `python -m` runs for it, and what it does."""

    module: str
    summary: str


COMMANDS = {
    "train": Command("cifsel.main", "trains and evaluates a model as a config file describes it"),
    "predict": Command("cifsel.predict", "says which class photos show, and how probable that is"),
    "compare": Command("cifsel.compare", "says which of finished runs is better, and how surely"),
    "export": Command("cifsel.export", "writes a model for other programs"),
    "web": Command("cifsel.web", "opens a page in the browser, from a camera to a classifier"),
    "preflight": Command("cifsel.preflight", "says whether a run fits a TPU, before it is rented"),
}


def main(program: str = "cifsel") -> None:
    """Runs the sub-command that the command line names. Its module reads the rest of the line."""
    starting.end_quietly()
    typed.start(program, {each.module: name for name, each in COMMANDS.items()})
    first, *rest = [*sys.argv[1:], ""]
    if first == "--version":
        _print_versions()
        return
    if first in COMMANDS:
        sys.argv = [f"{program} {first}", *rest[:-1]]
        # As `python -m` does, so that both ways do the same.
        runpy.run_module(COMMANDS[first].module, run_name="__main__", alter_sys=True)
        return
    _about(program)


def _about(program: str) -> None:
    """Answers a command line without a sub-command: --help, or a mistake."""
    # Not at the top, as every sub-command and --version do without them.
    from cifsel.config import Parser
    from cifsel.runtime import command

    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {each.summary}" for name, each in COMMANDS.items()]
    parser = Parser("cifsel", __doc__, "\n".join(["commands:", *lines]))
    parser.add_argument("command", nargs="?", choices=COMMANDS, metavar="COMMAND", help="see below")
    parser.add_argument("--version", action="store_true", help="versions of cifsel and JAX")
    # Only the first argument can be the mistake, not the ones that follow it.
    flags, _ = parser.parse_known_args(sys.argv[1:2])
    if flags.version:  # Shortened, as argparse lets it be.
        _print_versions()
        return
    of_train = f"; --config is of {program} train" if "--config" in "".join(sys.argv[1:2]) else ""
    command.stop(f"expected one of the commands {', '.join(COMMANDS)}{of_train} ({program} --help)")


def _print_versions() -> None:
    print(", ".join(f"{name} {_version(name)}" for name in ("cifsel", "jax")))


def _version(package: str) -> str:
    """The version of an installed package, from the name of its folder of metadata.

    importlib.metadata would take longer to import than all else that --version needs.
    """
    for folder in filter(os.path.isdir, sys.path):
        for name in os.listdir(folder):  # noqa: PTH208 - as above, for pathlib
            found = re.fullmatch(rf"{package}-(\d[^-]*)\.dist-info", name)
            if found:
                return found[1]
    return "(not installed)"


if __name__ == "__main__":
    main("python -m cifsel")
