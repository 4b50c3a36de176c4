"""What a run says while it works. One console, so that lines and progress bars do not mix."""

from collections.abc import Mapping

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

# Wide enough that a log file does not break lines where a terminal would.
console = Console(soft_wrap=True, highlight=False)


def say(text: str) -> None:
    """Prints one line, as it is."""
    console.print(text, markup=False)


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


def show_table(title: str, rows: Mapping[str, str]) -> None:
    """Prints names and values in two columns."""
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)


def duration(seconds: float) -> str:
    """'45 s', '12 min' or '3 h 20 min'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
