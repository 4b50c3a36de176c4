"""The one console of rich, and lines that fit it."""

import re
import sys
from typing import NoReturn

from rich.cells import cell_len
from rich.console import Console

from cifsel.errors import ExitCode
from cifsel.runtime import silence

_UNITS = "s|min|h|px|kB|MB|GB"


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """Ends the process when the reader of standard output is gone."""
        self.quiet = True
        silence.discard(sys.stdout)
        sys.exit(ExitCode.CLOSED_PIPE)


# With soft wrap, lines in a log file are as long as they are.
# A notebook's stream says that it is a terminal, and would show each step of a progress bar.
_TERMINAL = False if type(sys.stdout).__module__.startswith("ipykernel") else None
console = _Console(soft_wrap=True, highlight=False, force_jupyter=False, force_terminal=_TERMINAL)


def lines(text: str, indent: str = "  ") -> list[str]:
    """The text in lines that fit the terminal, broken between words. A log gets one line."""
    if not console.is_terminal or cell_len(text) <= console.width:
        return [text]
    first, *later = wrapped(text, console.width - len(indent))
    return [first, *(indent + line for line in later)]


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` cells. Only a longer word makes a longer line."""
    broken = [""]
    # A number stays with its unit.
    for part in re.findall(rf" *[^ ]+(?:(?<=\d) (?:%|(?:{_UNITS})\b)[^ ]*)?", text):
        if broken[-1] and cell_len(broken[-1] + part) > width:
            broken.append(part.lstrip(" "))
        else:
            broken[-1] += part
    return broken
