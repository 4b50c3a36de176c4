"""What figures that are read on a phone as well have in common.

They are narrow, their print is large, and they paint nothing white, so that they can stand on a
dark page. What is compared keeps its colour and marker as long as it keeps its place.
"""

import functools
import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cifsel.reports.style import BLUE, GREEN, ORANGE

# The latter three, of Okabe and Ito as well, are pale on white: there the markers have to help.
_COLOURS, _MARKERS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9"), "osD^vPX"
_WIDTH, FONT_SIZE = 5.4, 10  # inches, points: on a screen of 360 pixels print is 9 pixels high
wrap = functools.partial(textwrap.fill, width=44)


def panels(height: float, rows: int = 1, columns: int = 1, **more: Any) -> tuple[Figure, Any]:
    """A figure of that height in inches, and its axes in one sequence.

    Args:
      height: of all panels together; `legend` adds what it needs.
      rows: of panels.
      columns: of panels.
      **more: for `Figure.subplots`.
    """
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    every = figure.subplots(rows, columns, squeeze=False, **more).ravel()
    for axes in every:
        axes.tick_params(labelsize=FONT_SIZE)
        axes.xaxis.label.set_size(FONT_SIZE)
        axes.yaxis.label.set_size(FONT_SIZE)
    return figure, every


def add_legend(figure: Figure, entries: Sequence[Line2D]) -> None:
    """Above all panels, a line for each entry, so that long names have room; the figure grows."""
    lines = sum(1 + str(entry.get_label()).count("\n") for entry in entries)
    figure.set_figheight(figure.get_figheight() + 0.22 * lines)
    figure.legend(handles=entries, loc="outside upper left", fontsize=FONT_SIZE, frameon=False)


def freeze(figure: Figure) -> Figure:
    """Lays the figure out for good: else all would shift by a hair whenever it is drawn."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def legend_entry(text: str, **look: Any) -> Line2D:
    """A line of a legend."""
    return Line2D([], [], label=wrap(text), **look)


def marker_style(place: int, **changes: Any) -> dict[str, Any]:
    """Colour and marker of what is at that place among the compared, for `Axes.plot`."""
    colour, marker = _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]
    return {"color": colour, "marker": marker, "markersize": 7, "linestyle": ""} | changes
