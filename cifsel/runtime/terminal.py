"""The terminal: messages, warnings, errors and answers.

Everything that a command prints goes through this module and `bars`, so that lines and progress
bars do not mix. Messages and answers go to standard output, warnings and errors to standard error.

--help needs this module. So `console` and with it rich are imported inside functions.
"""

import contextlib
import io
import os
import shutil
import sys
from collections.abc import Iterator

from cifsel.errors import UserError, printable
from cifsel.runtime import silence
from cifsel.runtime.typed import as_typed

_FALLBACK_WIDTH, _MOST_WIDTH = 80, 100  # characters of --help
_closed: set[str] = set()  # names of the standard streams that the process was started without


def set_up() -> None:
    """Makes the standard streams fit for names of files, whatever they are. Twice is fine.

    Characters that the encoding of a stream lacks are escaped. In the place of a closed stream
    comes /dev/null. Otherwise, the next file that is opened would get the stream's number, and
    libraries that print would write into it.
    """
    for name, mode, errors in (
        ("stdin", "r", "surrogateescape"),
        ("stdout", "w", "backslashreplace"),
        ("stderr", "w", "backslashreplace"),
    ):
        stream = getattr(sys, name)
        if stream is None:
            _closed.add(name)
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def say(text: str) -> None:
    """Prints a message in one line. Nothing in it is markup or controls the terminal.

    On a terminal, a line that is too long is broken between words.
    """
    from cifsel.runtime import console

    with output():
        for line in console.lines(printable(as_typed(text))):
            console.console.print(line, markup=False)


def answer(text: str) -> None:
    """Prints text that other programs may read, as it is, with a line break at its end.

    Raises:
      UserError: standard output is closed or full.
    """
    if "stdout" in _closed:
        raise UserError("standard output is closed: give it a file, a pipe or a terminal")
    with output():
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def flush() -> None:
    """Writes what is left. Call it at the end, when Python itself could only complain.

    Raises:
      UserError: standard output is full.
    """
    with output():
        sys.stdout.flush()


def is_closed(stream: str) -> bool:
    """Whether the process was started without this stream, such as 'stdin'."""
    return stream in _closed


def is_unread() -> bool:
    """Whether the reader of standard output is gone, where `print` or a library wrote to it."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return True
    return False


@contextlib.contextmanager
def output() -> Iterator[None]:
    """Turns what can go wrong while standard output is written into an error, or the end."""
    try:
        yield
    except BrokenPipeError:
        from cifsel.runtime import console

        console.console.on_broken_pipe()
    except OSError as error:
        silence.discard(sys.stdout)
        raise UserError(
            f"standard output cannot be written ({error.strerror}): make room there, or give it"
            " another file"
        ) from None


def warn(text: str) -> None:
    """Prints a warning in one line on standard error."""
    # Not by a second console, whose lines would break through a progress bar of the first.
    try:
        with silence.STDERR:
            sys.stderr.write(f"{printable(as_typed(text))}\n")
            sys.stderr.flush()
    except OSError:  # Nobody can be told.
        silence.discard(sys.stderr)


def error(text: str) -> None:
    """Prints in one line on standard error why the command ends."""
    warn(f"error: {text}")


def help_width() -> int:
    """Characters in a line of --help: as many as the terminal has, at most 100."""
    return min(shutil.get_terminal_size((_FALLBACK_WIDTH, 24)).columns, _MOST_WIDTH)


def duration(seconds: float) -> str:
    """'45 s', '12 min' or '3 h 20 min'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun: '1 epoch', '1,200 epochs'. `many` is `one` with an s unless given."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
