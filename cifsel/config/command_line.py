"""What --help prints and what wrong flags are told, for every command; imports nothing slow."""

import argparse
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from typing import NoReturn

from ml_collections import ConfigDict

from cifsel.errors import printable

_WIDTH, _COLUMN = 100, 34  # characters


class Parser(argparse.ArgumentParser):
    """A parser whose help shows the docstring of the command line by line."""

    def __init__(self, name: str, doc: str | None, epilog: str = "") -> None:
        super().__init__(
            prog=f"python -m {name}",
            description=doc,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Says in one line what is wrong with the flags, and ends the process."""
        sys.stderr.write(f"error: {printable(message)} ({self.prog} --help)\n")
        sys.exit(2)


def comments(source: str) -> dict[str, str]:
    """What a config file says of each field: `c.seed = 0  # int: of initial values`.

    Whatever the formatter did to long lines: from an assignment to the next one.
    """
    found = {}
    for part in re.split(r"^ +c\.(?=[\w.]+ = )", source, flags=re.MULTILINE)[1:]:
        if said := re.search(r"# (\w+(?: in [\[(].*?[\])])?: .+)", part):
            found[part.partition(" = ")[0]] = said[1]
    return found


def fields(config: ConfigDict, meanings: Mapping[str, str]) -> str:
    """All fields of a config with their values and meanings, in the order of `meanings`."""
    order = {name: position for position, name in enumerate(meanings)}
    indent = " " * (_COLUMN + 2)
    return "\n".join(
        textwrap.fill(
            f"{f'{name} = {value}':<{_COLUMN}}  {meanings.get(name, '')}".rstrip(),
            _WIDTH,
            initial_indent="  ",
            subsequent_indent="  " + indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, value in sorted(
            _flat(config, meanings, ""), key=lambda row: order.get(row[0], len(order))
        )
    )


def _flat(
    config: ConfigDict, meanings: Mapping[str, str], prefix: str
) -> Iterator[tuple[str, str]]:
    for field, value in config.items():
        name = prefix + field
        if not isinstance(value, ConfigDict):
            yield name, repr(value)
        elif name in meanings:  # A config of its own, which says where it is listed.
            yield name, "..."
        else:
            yield from _flat(value, meanings, f"{name}.")
