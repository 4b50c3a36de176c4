"""The confusion matrix as parts of an HTML page: it fits, and it follows the colour scheme.

A large matrix comes three times: by coarse label for narrow screens, a small matrix of each coarse
label to open, and whole for wide screens. Lengths are in units of an SVG, about pixels.
"""

import dataclasses
import textwrap
import unicodedata
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Num

from cifsel.reports.style import display_name, percent

# Units of width on a phone, and on a wide screen.
NARROW, WIDE = 350, 1100
# A matrix of more classes is shown in parts on a phone.
MOST_ON_A_PHONE = 20
# The strongest shade of a cell on which text can be read, on a light and on a dark page.
_DARKEST = 0.45
_LETTERS = 34  # A longer name loses its middle.
_FONT, _LINE = 11.0, 12.0
_READOUT = 34.0  # Height of the two lines above, which say what a cell holds.


@dataclasses.dataclass(frozen=True)
class Label:
    """The name of a row or column, in lines around its middle.

    Attributes:
      x, y: the middle of its end that is next to the cells.
      lines: texts with their distances from the middle.
    """

    x: float
    y: float
    lines: tuple[tuple[str, float], ...]


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell that is not empty.

    Attributes:
      x, y: of its upper left corner.
      text: written into it, may be "".
      shade: opacity of its colour.
      right: whether it is on the diagonal.
      classes: the sentence on its classes that is shown when it is pointed at.
      count: the sentence on its number of images.
    """

    x: float
    y: float
    text: str
    shade: float
    right: bool
    classes: str
    count: str


@dataclasses.dataclass(frozen=True)
class Grid:
    """A drawn matrix.

    Attributes:
      title: of the matrix, for those who do not see it.
      width, height: of the whole.
      left, top: of the cells.
      cell_width, cell_height: of a cell.
      font: size of the letters.
      rows: names of the rows.
      columns: names of the columns.
      upright: whether the names of the columns stand upright.
      cells: those that are not empty.
      lines: y and x of the lines between groups.
    """

    title: str
    width: float
    height: float
    left: float
    top: float
    cell_width: float
    cell_height: float
    font: float
    rows: tuple[Label, ...]
    columns: tuple[Label, ...]
    upright: bool
    cells: tuple[Cell, ...]
    lines: tuple[tuple[float, ...], tuple[float, ...]]


@dataclasses.dataclass(frozen=True)
class Part:
    """The classes of a coarse label, to be opened."""

    title: str
    grid: Grid


@dataclasses.dataclass(frozen=True)
class Confusion:
    """A confusion matrix for the template.

    Attributes:
      narrow: fits on a phone: by coarse label if there are many classes. None without a use.
      parts: the classes of each coarse label.
      wide: of all classes, for wide screens. None if `narrow` shows them all.
    """

    narrow: Grid | None
    parts: tuple[Part, ...]
    wide: Grid | None


@dataclasses.dataclass(frozen=True)
class _Axis:
    """The names and groups of the classes of a matrix."""

    names: Sequence[str]
    groups: Int[np.ndarray, " n"]


def confusion(
    counts: Num[np.ndarray, "k k"],
    class_names: Sequence[str],
    coarse_names: Sequence[str] = (),
    coarse_of: Int[np.ndarray, " k"] | None = None,
    *,
    unit: str = "images",
    as_counts: bool = False,
) -> Confusion:
    """Lays out a confusion matrix.

    Args:
      counts: rows true, columns predicted. Means of several repetitions need not be whole.
      class_names: K names.
      coarse_names: names of the coarse labels.
      coarse_of: the coarse label of each class, by which classes are sorted. None for no groups.
      unit: what is counted.
      as_counts: write counts into the cells, not percentages of the row.
    """
    groups = np.zeros(len(class_names), np.int64) if coarse_of is None else np.asarray(coarse_of)
    order = np.argsort(groups, kind="stable")
    counts, groups = np.asarray(counts, float)[np.ix_(order, order)], groups[order]
    names = [display_name(class_names[index]) for index in order]
    draw = _Drawing(unit, as_counts)
    if len(names) <= MOST_ON_A_PHONE:
        return Confusion(draw.grid(counts, names, names, groups, NARROW), (), None)
    whole = draw.grid(counts, names, names, groups, WIDE)
    present = np.unique(groups)
    if coarse_of is None or len(present) < 2:
        return Confusion(None, (), whole)
    member = (groups[:, None] == present).astype(float)
    coarse = [display_name(coarse_names[group]) for group in present]
    overview = draw.grid(member.T @ counts @ member, coarse, coarse, np.arange(0), NARROW)
    parts = []
    for group, name in zip(present, coarse, strict=True):
        inside = groups == group
        block = counts[inside]
        columns = np.column_stack([block[:, inside], block[:, ~inside].sum(1)])
        own = [name for name, is_own in zip(names, inside, strict=True) if is_own]
        grid = draw.grid(columns, own, [*own, "any other class"], np.arange(0), NARROW)
        share = np.trace(block[:, inside]) / max(1, block.sum())
        parts.append(Part(f"{name}: {percent(share)} right", grid))
    return Confusion(overview, tuple(parts), whole)


@dataclasses.dataclass(frozen=True)
class _Drawing:
    """Draws matrices of one kind."""

    unit: str
    as_counts: bool

    def grid(
        self,
        counts: Float[np.ndarray, "r c"],
        rows: Sequence[str],
        columns: Sequence[str],
        groups: Int[np.ndarray, " _"],
        width: float,
    ) -> Grid:
        """Lays out one matrix. `groups` are those of rows and columns, or empty."""
        rows, columns = [_shortened(name) for name in rows], [_shortened(name) for name in columns]
        many = width > NARROW
        font = min(_FONT, 0.62 * (width - 180) / len(columns)) if many else _FONT
        row_lines = [[name] if many else textwrap.wrap(name, 18) or [""] for name in rows]
        left = max(_width(line) for lines in row_lines for line in lines) * font + 8
        cell_width = (width - left) / len(columns)
        flat = [textwrap.wrap(name, max(4, int(cell_width / font / 0.62))) for name in columns]
        upright = max(_width(line) for lines in flat for line in lines or [""]) * font < cell_width
        if upright:
            column_lines = flat
            room = _LINE * max(map(len, flat)) + 4
        else:
            letters = 18 if cell_width >= 2 * _LINE - 2 else _LETTERS
            column_lines = [textwrap.wrap(name, letters) or [""] for name in columns]
            room = max(_width(line) for lines in column_lines for line in lines) * font + 8
        lines = max(map(len, row_lines))
        height = cell_width if many else max(min(cell_width, 34.0), lines * _LINE + 2)
        top = _READOUT + room
        edges = np.flatnonzero(np.diff(groups)) + 1
        return Grid(
            title=f"{len(rows)} rows: what it is. {len(columns)} columns: what the model said.",
            width=width,
            height=top + height * len(rows) + 2,
            left=left,
            top=top,
            cell_width=cell_width,
            cell_height=height,
            font=font,
            rows=tuple(
                _label(left - 5, top + (place + 0.5) * height, lines)
                for place, lines in enumerate(row_lines)
            ),
            columns=tuple(
                _label(left + (place + 0.5) * cell_width, top - 5, lines, stacked=upright)
                for place, lines in enumerate(column_lines)
            ),
            upright=upright,
            cells=tuple(self._cells(counts, rows, columns, (left, top, cell_width, height))),
            lines=(tuple(top + height * edges), tuple(left + cell_width * edges)),
        )

    def _cells(
        self,
        counts: np.ndarray,
        rows: Sequence[str],
        columns: Sequence[str],
        box: tuple[float, float, float, float],
    ) -> list[Cell]:
        left, top, width, height = box
        totals = counts.sum(1)
        cells = []
        for row, column in np.argwhere(counts > 0).tolist():
            share, is_right = counts[row, column] / totals[row], row == column
            said = "recognised" if is_right else f"taken for {columns[column]}"
            number, total = _number(counts[row, column]), _number(totals[row])
            cells.append(
                Cell(
                    x=left + column * width,
                    y=top + row * height,
                    text=self._text(counts[row, column], share, width),
                    # The square root, as most mistakes of a good model are below a tenth.
                    shade=round(0.05 + (_DARKEST - 0.05) * float(np.sqrt(share)), 3),
                    right=is_right,
                    classes=f"{rows[row]}: {said}",
                    count=f"{number} of {total} {self.unit}, {percent(share, 1)}",
                )
            )
        return cells

    def _text(self, count: float, share: float, width: float) -> str:
        if self.as_counts:
            return _number(count)
        # Small cells have room for two digits, and few of them can be read.
        if share < (0.05 if width < 22 else 0.005):
            return ""
        return f"{100 * share:.0f}"


def _label(x: float, y: float, lines: Sequence[str], stacked: bool = False) -> Label:
    """Places the lines of a name around its middle, or above it."""
    first = -_LINE * (len(lines) - 1) * (1 if stacked else 0.5)
    return Label(x, y, tuple((line, first + _LINE * n) for n, line in enumerate(lines)))


def _number(count: float) -> str:
    """Writes a whole number without digits, a mean with one."""
    if abs(count - round(count)) < 1e-6:
        return f"{count:,.0f}"
    return f"{count:.1f}" if count >= 0.05 else "<0.1"


def _shortened(name: str) -> str:
    half = _LETTERS // 2
    return name if len(name) <= _LETTERS else f"{name[:half]}…{name[1 - half :]}"


def _width(text: str) -> float:
    """Width of a text by its font size, at most."""
    return 0.8 + sum(1.05 if unicodedata.east_asian_width(c) in "WF" else 0.62 for c in text)
