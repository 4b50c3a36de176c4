"""What a run says while it works. One console, so that lines and progress bars do not mix."""

from collections.abc import Mapping

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
from rich.table import Table
from rich.text import Text

from cifsel.errors import printable

# Wide enough that a log file does not break lines where a terminal would.
console = Console(soft_wrap=True, highlight=False)


def say(text: str) -> None:
    """Prints one line, in which nothing is markup, and nothing speaks to the terminal."""
    console.print(printable(text), markup=False)


def step_bar() -> Progress:
    """A progress bar over the steps of an epoch that leaves nothing behind."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TimeRemainingColumn(),
    )
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
        return Text("" if speed is None else f"{speed:,.0f} images/s")


def image_bar(label: str | None) -> Progress:
    """A progress bar over images, with their number a second; None shows none."""
    columns: tuple[ProgressColumn, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        _ImagesPerSecond(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    # Slow models give a batch every few seconds: the default window of 30 s would forget most.
    return Progress(*columns, console=console, disable=label is None, speed_estimate_period=120.0)


def waiting(label: str) -> Progress:
    """A sign of life, with the time that has passed, for work whose end nobody knows."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    bar.add_task(label, total=None)
    return bar


def show_table(title: str, rows: Mapping[str, str]) -> None:
    """Prints names and values in two columns."""
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(printable(name), printable(value))
    console.print(table)


def duration(seconds: float) -> str:
    """'45 s', '12 min' or '3 h 20 min'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
