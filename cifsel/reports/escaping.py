"""Texts from outside in Markdown and HTML: class names, paths and values stay plain text."""

import html
import re

from cifsel.errors import printable

# Characters that begin or end something in Markdown, GitHub's extensions included.
_SPECIAL = re.compile(r"([\\`*_{}\[\]|~$])")
# GitHub makes links of addresses, and mentions of names.
_LINKS = re.compile(r"(?<=\w)(:)(?=//)|(?<=www)(\.)|(@)", re.IGNORECASE)
# At the start of a line: headings, lists and rules.
_START = re.compile(r"^(\d*)([.)](?=\s|$)|[#+-](?=[\s#-]|$)|=)")


def shown(text: str) -> str:
    """Prepares text for HTML: no control characters, and no lone "%" or p-value on a line."""
    return re.sub(r"(?<=\d) (?=%)|(?<=\bp) (?=[=<] )|(?<=p [=<]) ", "\u00a0", printable(text))


def cell(text: object) -> str:
    """Escapes text so that Markdown shows it as it is, in one line or one cell of a table."""
    line = html.escape(printable(" ".join(str(text).split())), quote=False)
    line = _LINKS.sub(lambda found: f"&#{ord(found[0])};", line)
    line = _SPECIAL.sub(r"\\\1", line)
    return _START.sub(r"\1\\\2", line)


def code_block(lines: str | list[str]) -> str:
    """Makes a block of code of one or more lines, which nothing in them can end."""
    lines = [printable(line) for line in ([lines] if isinstance(lines, str) else lines)]
    longest = max((len(run) for run in re.findall(r"`+", "\n".join(lines))), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([fence, *lines, fence])
