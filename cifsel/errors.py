"""The one exception that means "the input is wrong", as opposed to "the program is wrong"."""

import unicodedata
from collections.abc import Iterator

# What a name in a file may swell a message to: some screens full.
_LONGEST = 2_000


class UserError(Exception):
    """Something the user gave cannot be used.

    The message is one line that names the file or field, says what was found and what was expected,
    and what to do about it. `cifsel.main` prints it without a traceback and exits with status 2.
    Whatever names and files it quotes, it is printable: see `printable`.
    """

    def __init__(self, message: str) -> None:
        line = printable(message)
        if len(line) > _LONGEST:
            line = f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"
        super().__init__(line)


def printable(text: object) -> str:
    """Text in one printable line, whatever a file name may hold; spaces of all widths stay."""
    # macOS takes accented letters apart, others do not.
    return "".join(
        c if c.isprintable() or unicodedata.category(c) == "Zs" else ascii(c)[1:-1]
        for c in unicodedata.normalize("NFC", str(text))
    )


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, what led to it, what led to that, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def one_line(error: BaseException) -> str:
    """What an exception says, short and printable."""
    try:
        text = " ".join(str(error).split())[:200]
    except Exception:  # Not all can say what they are.
        text = ""
    return printable(text) or type(error).__name__
