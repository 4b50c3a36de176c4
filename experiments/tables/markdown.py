"""Markdown tables, and marked sections of documents that hold generated text."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

Section = Callable[[Callable[[str], str]], str]

_MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table. Each row has as many cells as the header."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def percent(share: float, digits: int = 1) -> str:
    """0.8334 as '83.3 %'."""
    return f"{100 * share:.{digits}f} %"


def interval(low: float, high: float) -> str:
    """0.8228 and 0.8435 as '82.3 to 84.3 %'."""
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def with_sections(text: str, folder: Path, root: Path, sections: dict[str, Section]) -> str:
    """Replaces the text between marks by the sections that the marks name.

    A section stands between `<!-- table: NAME -->` and `<!-- end of table -->`.

    Args:
      text: of a document.
      folder: of the document. Links in sections are relative to it.
      root: of the repository.
      sections: by name. Each takes a function that makes a link of a path in the repository.

    Raises:
      KeyError: there is no section of a name.
    """

    def link(path: str) -> str:
        return Path(os.path.relpath(root / path, folder)).as_posix()

    def replaced(match: re.Match[str]) -> str:
        return f"{match[1]}{sections[match[2]](link)}\n{match[3]}"

    return _MARKED.sub(replaced, text)
