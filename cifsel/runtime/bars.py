"""Progress bars, spinners and tables on the terminal."""

import contextlib
import sys
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar

from rich.cells import cell_len
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
from rich.table import Column
from rich.text import Text

from cifsel.errors import printable
from cifsel.runtime.console import console, wrapped
from cifsel.runtime.terminal import output, say
from cifsel.runtime.typed import as_typed

T = TypeVar("T")

_SHORTEST_TIME = 0.05  # seconds over which a speed means something


def show(renderable: Any) -> None:
    """Prints a table of rich."""
    with output():
        console.print(renderable)


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
        # Where there is little room, the bar is to be shorter.
        _ImagesPerSecond(table_column=Column(no_wrap=True)),
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
    with output():
        console.print(Text(title, style="italic"))
        for name, value in names.items():
            room = console.width - width - 4
            longest = max(map(cell_len, value.split()), default=0)
            if console.is_terminal and longest > room:
                console.print(Text("  ").append(name, style="bold"))
                console.print(Text(f"    {value}"))
                continue
            parts = wrapped(value, room) if console.is_terminal else [value]
            for number, part in enumerate(parts):
                label = "" if number else name
                line = Text("  ").append(label, style="bold")
                line.append(" " * (width - cell_len(label) + 2))
                console.print(line.append(part))
