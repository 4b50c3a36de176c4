"""The terminal: messages, warnings, errors, answers, progress bars and tables.

Everything that a command prints goes through this module, so that lines and progress bars do not
mix. Messages and answers go to standard output, warnings and errors to standard error.
"""

import os
import sys
from collections.abc import Mapping
from typing import NoReturn

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

from cifsel.errors import ExitCode, printable


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """Ends the process when the reader of standard output is gone."""
        self.quiet = True
        # Python flushes once more at its end, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.CLOSED_PIPE)


# With soft wrap, lines in a log file are as long as they are.
console = _Console(soft_wrap=True, highlight=False)


def say(text: str) -> None:
    """Prints a message in one line. Nothing in it is markup or controls the terminal."""
    console.print(printable(text), markup=False)


def answer(text: str) -> None:
    """Prints text that other programs may read, as it is, with a line break at its end."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        console.on_broken_pipe()


def warn(text: str) -> None:
    """Prints a warning in one line on standard error."""
    # Not by a second console, whose lines would break through a progress bar of the first.
    sys.stderr.write(f"{printable(text)}\n")
    sys.stderr.flush()


def error(text: str) -> None:
    """Prints in one line on standard error why the command ends."""
    warn(f"error: {text}")


def step_bar() -> Progress:
    """A progress bar over the steps of an epoch, which disappears at the end."""
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
    """A progress bar over images, with images per second. None as its label shows no bar."""
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
    """A spinner with the time that has passed, for work of unknown length."""
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
