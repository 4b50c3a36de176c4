"""The argument parser of commands that take no config, and how it reads paths."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from cifsel import terminal
from cifsel.errors import ExitCode
from cifsel.runtime.paths import expanded


def path(given: str) -> str:
    """Type of arguments that are paths of this machine or on gs://, with '~' expanded.

    A shell expands no '~' after '=', as in --output=~/comparison.
    """
    return expanded(given)


def local_path(given: str) -> Path:
    """Type of arguments that are paths of this machine, with '~' expanded."""
    return Path(expanded(given))


class Parser(argparse.ArgumentParser):
    """Parses the command line. --help shows the docstring of the command line by line."""

    def __init__(self, name: str, doc: str | None, epilog: str = "") -> None:
        super().__init__(
            prog=f"python -m {name}",
            description=doc,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Prints one line about wrong arguments, and ends the process."""
        terminal.error(f"{message} ({self.prog} --help)")
        sys.exit(ExitCode.BAD_INPUT)
