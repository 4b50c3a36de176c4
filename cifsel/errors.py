"""Errors and exit codes: what means that an input is wrong, and how any exception becomes one line.

Every command ends with one of `ExitCode`, and says what is wrong in one line that starts with
"error: " on standard error. Only a defect of the program shows a traceback.
"""

import enum
import unicodedata
from collections.abc import Iterator

# Advice for every message about a file that cannot be written.
MAKE_ROOM = "make room there, or make the folder writable"

_MAX_MESSAGE = 2_000  # characters of a UserError: some screens full, whatever names it quotes
_MAX_REASON = 200  # characters of another exception's message


class ExitCode(enum.IntEnum):
    """Exit codes of all commands.

    Attributes:
      OK: the command did what it was asked.
      DEFECT: the program is wrong. A traceback is on standard error.
      BAD_INPUT: an input, a file or the machine cannot be used. The message says what to do.
      TRY_AGAIN: the same command may succeed: SIGTERM stopped a run that saved, another process is
        gone, or gs:// does not answer. sysexits.h calls it EX_TEMPFAIL.
      INTERRUPTED: Ctrl-C stopped the command. 128 + SIGINT, as shells have it.
      CLOSED_PIPE: the reader of standard output is gone, as in `| head`. 128 + SIGPIPE.
    """

    OK = 0
    DEFECT = 1
    BAD_INPUT = 2
    TRY_AGAIN = 75
    INTERRUPTED = 130
    CLOSED_PIPE = 141


class UserError(Exception):
    """Something the user gave cannot be used.

    The message is one printable line of at most 2,000 characters, whatever names it quotes. It
    names the file or field, says what is there, what was expected, and what to do. Commands print
    it without a traceback and exit with `ExitCode.BAD_INPUT`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_without_middle(printable(message), _MAX_MESSAGE))


def printable(text: object) -> str:
    """Text in one printable line, whatever a file name may hold. Spaces of all widths stay."""
    # macOS takes accented letters apart, others do not.
    return "".join(
        c if c.isprintable() or unicodedata.category(c) == "Zs" else ascii(c)[1:-1]
        for c in unicodedata.normalize("NFC", str(text))
    )


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an exception, the exception that led to it, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def one_line(error: BaseException) -> str:
    """An exception's message in one printable line of about 200 characters.

    A longer message loses its middle, since the cause may stand at either end. An exception without
    a message gives the name of its class.
    """
    text = printable(" ".join(str(error).split()))
    return _without_middle(text, _MAX_REASON) or type(error).__name__


def _without_middle(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    return f"{text[: length // 2]} ... {text[-length // 2 :]}"
