"""Writes files that a generator makes from records, or says which ones are out of date."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from cifsel.config import arguments
from cifsel.runtime import command, terminal


def outdated(files: Mapping[Path, str]) -> dict[Path, str]:
    """Those of the generated texts that differ from the files."""
    return {
        path: text for path, text in files.items() if not path.exists() or path.read_text() != text
    }


def write(files: Mapping[Path, str], root: Path, *, check: bool) -> None:
    """Writes what is out of date, or exits with 1 if there is something.

    Args:
      files: the generated texts by their paths, which are below `root`.
      root: folder from which paths are printed.
      check: write nothing.
    """
    differing = outdated(files)
    for path, text in differing.items():
        terminal.answer(str(path.relative_to(root)))
        if not check:
            path.write_text(text)
    if check and differing:
        sys.exit(1)


def main(module: str, doc: str | None, update: Callable[[bool], None]) -> None:
    """Parses the command line of a generator, and calls `update` with whether to check alone."""
    parser = arguments.Parser(module, doc)
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1")
    check = parser.parse_args().check
    command.start_terminal()
    command.guarded(lambda: update(check))
