"""Layout of figures that can be read on a phone, and of legends above them.

These figures are narrow and their letters are large. They paint nothing white, so that they can
stand on a dark page.
"""

import re
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cifsel.reports import glyphs
from cifsel.reports.style import BLUE, GREEN, ORANGE

# The last three, of Okabe and Ito as well, are pale on white. The markers have to help there.
_COLOURS, _MARKERS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9"), "osD^vPX"
_WIDTH, FONT_SIZE = 5.4, 10  # Inches, points. On a screen of 360 pixels, letters have 9 pixels.


class Item(NamedTuple):
    """A compared thing: its name, and its place among the colours and markers."""

    name: str
    place: int

    def marker(self, **changes: Any) -> dict[str, Any]:
        """Returns arguments of `Axes.plot`: its colour and marker."""
        return marker_style(self.place, **changes)


def panels(height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """Makes a figure with a grid of panels. Returns it with its axes in one sequence.

    Args:
      height: of all panels together, in inches. `add_legend` makes the figure taller.
      rows: number of rows of panels.
      columns: number of columns of panels.
      **options: for `Figure.subplots`.
    """
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    panel_axes = figure.subplots(rows, columns, squeeze=False, **options).ravel()
    for axes in panel_axes:
        axes.tick_params(labelsize=FONT_SIZE)
        axes.xaxis.label.set_size(FONT_SIZE)
        axes.yaxis.label.set_size(FONT_SIZE)
    return figure, panel_axes


def add_legend(figure: Figure, entries: Sequence[Line2D]) -> None:
    """Adds a legend above all panels, with a line per entry, and makes the figure taller."""
    lines = sum(1 + str(entry.get_label()).count("\n") for entry in entries)
    figure.set_figheight(figure.get_figheight() + 0.22 * lines)
    figure.legend(handles=entries, loc="outside upper left", fontsize=FONT_SIZE, frameon=False)


def wrap(text: str, width: int = 44) -> str:
    """Breaks a text into lines. A number stays with its "%"."""
    return textwrap.fill(re.sub(r"(?<=\d) %", "\u00a0%", text), width).replace("\u00a0", " ")


def freeze(figure: Figure) -> Figure:
    """Lays a figure out for good. Else all would shift slightly each time it is drawn."""
    glyphs.Canvas(figure)  # Measures text as it is drawn.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def legend_entry(text: str, **look: Any) -> Line2D:
    """Makes an entry of a legend."""
    return Line2D([], [], label=wrap(text), **look)


def marker_style(place: int, **changes: Any) -> dict[str, Any]:
    """Returns arguments of `Axes.plot`: colour and marker of the compared item at that place."""
    colour, marker = _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]
    return {"color": colour, "marker": marker, "markersize": 7, "linestyle": ""} | changes
