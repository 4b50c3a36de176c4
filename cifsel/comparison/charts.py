"""The figures of a comparison: numbers of several candidates in, matplotlib Figure out.

Colour and marker of a candidate depend on its model, see `looks.places`.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import Bbox

from cifsel.comparison.paired import Estimate
from cifsel.comparison.scores import CoarseComparison
from cifsel.reports import layout
from cifsel.reports.layout import Item
from cifsel.reports.style import GREY, INK, PERCENT, display_name, percent, styled
from cifsel.runtime.terminal import count


@dataclass(frozen=True)
class CostPoint:
    """Cost and test accuracy of a candidate.

    Attributes:
      item: the candidate.
      flops: floating-point operations per image, > 0.
      images_per_second: > 0.
      accuracy: 0..1.
      low: lower end of its 95 % interval.
      high: upper end.
    """

    item: Item
    flops: float
    images_per_second: float
    accuracy: float
    low: float
    high: float


@styled
def accuracy_by_class(
    class_names: Sequence[str],
    accuracy_a: Float[np.ndarray, " classes"],
    accuracy_b: Float[np.ndarray, " classes"],
    pair: tuple[Item, Item],
) -> Figure:
    """Draws the accuracy of B against that of A by class, and names the largest differences.

    Args:
      class_names: names of the classes.
      accuracy_a: accuracies of A, 0..1.
      accuracy_b: accuracies of B.
      pair: A and B.
    """
    a, b = pair
    figure, (axes,) = layout.panels(5.4)
    points = np.stack([accuracy_a, accuracy_b], axis=1)
    difference = accuracy_b - accuracy_a
    ends = np.array([-0.05, 0.05]) * max(0.2, np.ptp(points)) + (points.min(), points.max())
    axes.plot(ends, ends, "--", color=GREY, linewidth=1.2, zorder=1)
    sides = (
        (difference > 0, f"above: {b.name} better", b.marker()),
        (difference < 0, f"below: {a.name} better", a.marker()),
        (difference == 0, "on the line: equal", layout.marker_style(0, color=GREY, marker="x")),
    )
    for side, text, look in sides:
        axes.plot(*points[side].T, **look, alpha=0.8, label=layout.wrap(text))
    layout.add_legend(figure, axes.lines[1:])
    above, below, on = (side.sum() for side, _, _ in sides)
    axes.set_title(f"{len(points)} classes: {above} above the line, {below} below, {on} on it")
    axes.set(xlim=ends, ylim=ends, box_aspect=1)
    for axis, item in ((axes.xaxis, a), (axes.yaxis, b)):
        axis.set_label_text(layout.wrap(f"accuracy of {item.name}"))
        axis.set_major_formatter(PERCENT)
        # No tick says that more than all are right.
        axis.set_ticks([tick for tick in axis.get_ticklocs() if ends[0] <= tick <= min(ends[1], 1)])
    far = [index for index in np.argsort(-abs(difference), kind="stable")[:8] if difference[index]]
    _name_points(layout.freeze(figure), axes, points, {index: class_names[index] for index in far})
    return figure


def _name_points(figure: Figure, axes: Axes, points: np.ndarray, names: Mapping[int, str]) -> None:
    """Writes names beside points (K, 2), by index, on no other name and no point.

    Earlier names are placed first. A name without room is left out.
    """
    frame, dot = axes.get_window_extent(), figure.dpi / 72
    places = axes.transData.transform(points)
    taken = [Bbox([place - 4 * dot, place + 4 * dot]) for place in places]
    turns = sorted(range(-160, 181, 20), key=abs)  # Degrees. 0 points away from the diagonal.
    line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 4}
    style: dict[str, Any] = {"ha": "center", "va": "center", "textcoords": "offset points"}
    for index, name in names.items():
        note = axes.annotate(display_name(name), points[index], (0, 0), arrowprops=line, **style)
        half = np.array(Text.get_window_extent(note).size) / 2  # An Annotation's has the line too.
        away = 135 if points[index, 1] > points[index, 0] else -45
        for distance, turn in itertools.product(range(6, 50, 8), turns):
            angle = math.radians(away + turn)
            step = np.array([math.cos(angle), math.sin(angle)]) * (half + distance * dot)
            box = Bbox([places[index] + step - half, places[index] + step + half])
            if frame.count_contains(box.get_points()) == 2 and not box.count_overlaps(taken):
                note.set_position(tuple(step / dot))
                taken.append(box)
                break
        else:
            note.remove()


@styled
def accuracy_by_coarse_label(rows: Sequence[CoarseComparison], pair: tuple[Item, Item]) -> Figure:
    """Draws accuracies of A and B on each coarse label, and their difference with its interval.

    Args:
      rows: one per coarse label. The one where A is ahead the most comes on top.
      pair: A and B.
    """
    a, b = pair
    rows = sorted(rows, key=lambda row: -row.difference.mean)
    figure, (left, right) = layout.panels(0.9 + 0.42 * len(rows), 1, 2, sharey=True)
    unclear = layout.marker_style(0, color=INK, marker="d")
    for place, row in enumerate(rows):
        difference = row.difference
        left.plot([row.a, row.b], [place, place], color=GREY, linewidth=1.5, zorder=1)
        left.plot(row.a, place, **a.marker())
        left.plot(row.b, place, **b.marker())
        if difference.low <= 0 <= difference.high:
            look = unclear
        else:
            look = (a if difference.mean > 0 else b).marker()
        interval = [difference.low, difference.high]
        right.plot(interval, [place, place], color=look["color"], linewidth=1.5)
        right.plot(difference.mean, place, **look)
    right.axvline(0, color=INK, linewidth=1, zorder=1)
    entries = [
        layout.legend_entry(f"{letter}: {item.name}", **item.marker())
        for letter, item in zip("AB", pair, strict=True)
    ]
    layout.add_legend(figure, [*entries, layout.legend_entry("the interval contains 0", **unclear)])
    left.set_yticks(
        range(len(rows)), [layout.wrap(display_name(row.name), width=16) for row in rows]
    )
    left.set(ylim=(len(rows) - 0.5, -0.5), title="Accuracy")
    left.xaxis.set_major_formatter(PERCENT)
    right.set(title="A − B", xlabel="points, 95 % interval")
    right.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 6):g}"))
    return layout.freeze(figure)


@styled
def accuracy_against_cost(points: Sequence[CostPoint]) -> Figure:
    """Draws test accuracy against operations per image, and against images per second.

    Args:
      points: one for each candidate, at least one.
    """
    figure, panels = layout.panels(3, 1, 2, sharey=True)
    steps = np.outer(10.0 ** np.arange(-9, 10), (1, 2, 5)).ravel()
    styles = [point.item.marker() for point in points]
    operations = [point.flops / 1e9 for point in points]
    speeds = [point.images_per_second for point in points]
    quantities = (("GFLOPs per image", operations), ("images per second", speeds))
    for axes, (quantity, values) in zip(panels, quantities, strict=True):
        for point, value, look in zip(points, values, styles, strict=True):
            axes.plot([value, value], [point.low, point.high], color=look["color"])
            axes.plot(value, point.accuracy, **look)
        ends = min(values) / 2.5, max(values) * 2.5
        # Each tick is within a factor of 1.6 of the wanted one. So all lie within the ends, and at
        # least two of them differ.
        wanted = np.geomspace(ends[0] * 1.6, ends[1] / 1.6, 3)
        ticks = steps[np.unique([np.abs(np.log(steps / tick)).argmin() for tick in wanted])]
        axes.set(xscale="log", xlim=ends, xlabel=f"{quantity} (log)")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    named = zip(points, styles, strict=True)
    layout.add_legend(figure, [layout.legend_entry(p.item.name, **look) for p, look in named])
    panels[0].set_title("Test accuracy, 95 % interval")
    panels[0].yaxis.set_major_formatter(PERCENT)
    return layout.freeze(figure)


@styled
def accuracy_by_seed(accuracies: Mapping[Item, Estimate]) -> Figure:
    """Draws the test accuracy of every seed, and the mean of each candidate with its interval.

    Args:
      accuracies: by candidate.
    """
    names = [layout.wrap(item.name, width=22) for item in accuracies]
    lines = 2 + max(name.count("\n") for name in names)
    figure, (axes,) = layout.panels(0.8 + (0.3 + 0.22 * lines) * len(accuracies))
    for place, (item, accuracy) in enumerate(accuracies.items()):
        mean, seeds = float(np.mean(accuracy.by_seed)), accuracy.by_seed
        interval, line = [accuracy.low, accuracy.high], [place, place]
        axes.plot(interval, line, color=item.marker()["color"])
        axes.plot(mean, place, **item.marker(markersize=9))
        # Hollow, so that equal ones do not hide each other.
        hollow = item.marker(fillstyle="none")
        axes.plot(seeds, [place + 0.25] * len(seeds), **hollow)
        names[place] += f"\n{percent(mean, 1)}, {count(len(seeds), 'seed')}"
    axes.set(ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)), yticklabels=names)
    axes.set(title="Test accuracy: mean, 95 % interval", xlabel="hollow: every seed by itself")
    axes.xaxis.set_major_formatter(PERCENT)
    return layout.freeze(figure)
