"""The terminal: messages, warnings, errors, answers, progress bars and tables.

Everything that a command prints goes through this module, so that lines and progress bars do not
mix. Messages and answers go to standard output, warnings and errors to standard error.
"""

import contextlib
import io
import os
import re
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NoReturn, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from cifsel.errors import ExitCode, UserError, printable
from cifsel.runtime import silence
from cifsel.runtime.typed import as_typed

T = TypeVar("T")

_UNITS = "s|min|h|px|kB|MB|GB"
_FALLBACK_WIDTH, _MOST_WIDTH = 80, 100  # characters of --help
_SHORTEST_TIME = 0.05  # seconds over which a speed means something
_closed: set[str] = set()  # names of the standard streams that the process was started without


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """Ends the process when the reader of standard output is gone."""
        self.quiet = True
        _discard(sys.stdout)
        sys.exit(ExitCode.CLOSED_PIPE)


# With soft wrap, lines in a log file are as long as they are.
# A notebook's stream says that it is a terminal, and would show each step of a progress bar.
_TERMINAL = False if type(sys.stdout).__module__.startswith("ipykernel") else None
console = _Console(soft_wrap=True, highlight=False, force_jupyter=False, force_terminal=_TERMINAL)


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
    with _output():
        for line in _lines(printable(as_typed(text))):
            console.print(line, markup=False)


def show(renderable: Any) -> None:
    """Prints a table of rich."""
    with _output():
        console.print(renderable)


def answer(text: str) -> None:
    """Prints text that other programs may read, as it is, with a line break at its end.

    Raises:
      UserError: standard output is closed or full.
    """
    if "stdout" in _closed:
        raise UserError("standard output is closed: give it a file, a pipe or a terminal")
    with _output():
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def flush() -> None:
    """Writes what is left. Call it at the end, when Python itself could only complain.

    Raises:
      UserError: standard output is full.
    """
    with _output():
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
def _output() -> Iterator[None]:
    """Turns what can go wrong while standard output is written into an error, or the end."""
    try:
        yield
    except BrokenPipeError:
        console.on_broken_pipe()
    except OSError as error:
        _discard(sys.stdout)
        raise UserError(
            f"standard output cannot be written ({error.strerror}): make room there, or give it"
            " another file"
        ) from None


def _discard(stream: io.TextIOWrapper | Any) -> None:
    """Sends the rest of a stream nowhere. Python flushes at its end, and would complain then."""
    with contextlib.suppress(OSError, ValueError):  # A test's stream has no number.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def warn(text: str) -> None:
    """Prints a warning in one line on standard error."""
    # Not by a second console, whose lines would break through a progress bar of the first.
    try:
        with silence.STDERR:
            sys.stderr.write(f"{printable(as_typed(text))}\n")
            sys.stderr.flush()
    except OSError:  # Nobody can be told.
        _discard(sys.stderr)


def error(text: str) -> None:
    """Prints in one line on standard error why the command ends."""
    warn(f"error: {text}")


def help_width() -> int:
    """Characters in a line of --help: as many as the terminal has, at most 100."""
    return min(shutil.get_terminal_size((_FALLBACK_WIDTH, 24)).columns, _MOST_WIDTH)


def _lines(text: str, indent: str = "  ") -> list[str]:
    """The text in lines that fit the terminal, broken between words. A log gets one line."""
    if not console.is_terminal or cell_len(text) <= console.width:
        return [text]
    first, *later = _wrapped(text, console.width - len(indent))
    return [first, *(indent + line for line in later)]


def _wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` cells. Only a longer word makes a longer line."""
    lines = [""]
    # A number stays with its unit.
    for part in re.findall(rf" *[^ ]+(?:(?<=\d) (?:%|(?:{_UNITS})\b)[^ ]*)?", text):
        if lines[-1] and cell_len(lines[-1] + part) > width:
            lines.append(part.lstrip(" "))
        else:
            lines[-1] += part
    return lines


def step_bar() -> Progress:
    """A progress bar over the steps of an epoch, which disappears at the end."""
    label = "{task.description}"
    columns = (label, BarColumn(), MofNCompleteColumn(), "steps", TimeRemainingColumn())
    # Without a terminal a transient bar would leave empty lines in the log.
    return Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        speed_estimate_period=300.0,
    )


class _ImagesPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        # A bar that is over at once has no speed: it only counted the batch that was ready.
        short = (task.elapsed or 0.0) < _SHORTEST_TIME
        return Text("" if speed is None or short else f"{speed:,.0f} images/s")


def image_bar(label: str | None, *, transient: bool = False) -> Progress:
    """A progress bar over images, with images per second. None as its label shows no bar."""
    columns: tuple[ProgressColumn, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        _ImagesPerSecond(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    # Slow models give a batch every few seconds: the default window of 30 s would forget most.
    return Progress(
        *columns,
        console=console,
        transient=transient,
        disable=label is None,
        redirect_stderr=sys.stderr.isatty(),  # Its lines must not end up on the terminal else.
        speed_estimate_period=120.0,
    )


def waiting(label: str) -> Progress:
    """A spinner with the time that has passed, for work of unknown length."""
    # The usual dots are not in every encoding.
    spinner = SpinnerColumn("line" if console.options.ascii_only else "dots")
    columns = (spinner, "{task.description}", TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    bar.add_task(label, total=None)
    return bar


@contextlib.contextmanager
def working(label: str) -> Iterator[None]:
    """Shows within the block that something is done: a spinner, or a line without a terminal."""
    if not console.is_terminal:
        say(label)
        yield
        return
    with waiting(label):
        yield


def tracked(items: Collection[T], label: str) -> Iterator[T]:
    """Yields the items, and shows how many are done: a bar, or a line without a terminal."""
    if not console.is_terminal:
        say(label)
        yield from items
        return
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        yield from bar.track(items, description=label)


def show_table(title: str, rows: Mapping[str, str]) -> None:
    """Prints names and values in two columns. Paths that do not fit get a line of their own."""
    names = {printable(name): printable(as_typed(value)) for name, value in rows.items()}
    width = max(map(cell_len, names))
    with _output():
        console.print(Text(title, style="italic"))
        for name, value in names.items():
            room = console.width - width - 4
            longest = max(map(cell_len, value.split()), default=0)
            if console.is_terminal and longest > room:
                console.print(Text("  ").append(name, style="bold"))
                console.print(Text(f"    {value}"))
                continue
            parts = _wrapped(value, room) if console.is_terminal else [value]
            for number, part in enumerate(parts):
                label = "" if number else name
                line = Text("  ").append(label, style="bold")
                line.append(" " * (width - cell_len(label) + 2))
                console.print(line.append(part))


def duration(seconds: float) -> str:
    """'45 s', '12 min' or '3 h 20 min'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun: '1 epoch', '1,200 epochs'. `many` is `one` with an s unless given."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
