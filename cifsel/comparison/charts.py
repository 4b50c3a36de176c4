"""The figures of a comparison: numbers of several candidates in, matplotlib Figure out.

A candidate looks the same in all figures, if it keeps its place among the candidates.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from cifsel.evaluation import scoring
from cifsel.reports import layout
from cifsel.reports.style import GREY, INK, PERCENT, display_name, percent, styled

History = Sequence[Mapping[str, Any]]  # one mapping per epoch
CoarseRow = tuple[str, float, float, float, float, float]  # see per_coarse


@dataclass(frozen=True)
class CostPoint:
    """What a candidate costs, and how good it is on the test split."""

    name: str
    flops: float  # floating-point operations for one image, > 0
    images_per_second: float  # > 0
    accuracy: float  # 0..1
    low: float  # the ends of its 95 % interval
    high: float


@styled
def curves(histories: Mapping[str, Sequence[History]]) -> Figure:
    """Accuracy and loss by epoch: validation solid, training dashed.

    Args:
      histories: Candidate -> a history per seed: by epoch epoch, train_loss, val_loss,
        train_accuracy, val_accuracy; missing and None leave a gap. Several seeds are thin lines,
        and their mean, over the epochs that all of them have, a thick one.

    Raises:
      ValueError: No candidate has an epoch.
    """
    figure, (accuracy, loss) = layout.panels(5.4, 2, sharex=True)
    entries = []
    for place, (name, seeds) in enumerate(histories.items()):
        trained = [seed for seed in seeds if seed]
        if not trained:
            continue
        several = f" (mean of {len(trained)} seeds)" if len(trained) > 1 else ""
        entries.append(
            layout.legend_entry(name + several, **layout.marker_style(place, linestyle="-"))
        )
        for key in ("val_accuracy", "train_accuracy", "val_loss", "train_loss"):
            _by_epoch(accuracy if key.endswith("accuracy") else loss, trained, key, place)
    if not entries:
        raise ValueError("none of the candidates has a training history")
    lines = (
        layout.legend_entry("validation", color=INK),
        layout.legend_entry("training (hollow)", color=INK, ls="--"),
    )
    layout.add_legend(figure, [*entries, *lines])
    accuracy.set_title("Accuracy")
    accuracy.yaxis.set_major_formatter(PERCENT)
    loss.set(title="Loss (nats)", xlabel="epoch")
    loss.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return layout.freeze(figure)


def _by_epoch(axes: Axes, seeds: Sequence[History], key: str, place: int) -> None:
    hollow = key.startswith("train")
    series = [{epoch["epoch"]: epoch.get(key) for epoch in seed} for seed in seeds]
    look = layout.marker_style(place, linestyle="--" if hollow else "-")
    thin = look | {"marker": "", "linewidth": 0.7, "alpha": 0.6}
    for values in series if len(series) > 1 else ():
        axes.plot(list(values), np.array(list(values.values()), float), **thin)
    common = sorted(set.intersection(*map(set, series)))
    mean = np.array([[values[epoch] for epoch in common] for values in series], float).mean(axis=0)
    # Markers, since without them a single epoch could not be seen; but no crowd of them.
    look |= {"markersize": 5, "markevery": max(1, len(common) // 6)}
    axes.plot(common, mean, **look, fillstyle="none" if hollow else "full")


@styled
def per_class(
    class_names: Sequence[str],
    accuracy_a: np.ndarray,
    accuracy_b: np.ndarray,
    name_a: str,
    name_b: str,
) -> Figure:
    """Accuracy of B against that of A, class by class; the largest differences are named.

    Args:
      class_names: K names.
      accuracy_a: (K,) accuracies of A, 0..1.
      accuracy_b: (K,) accuracies of B.
      name_a: Name of candidate A.
      name_b: Name of candidate B.
    """
    figure, (axes,) = layout.panels(5.4)
    points = np.stack([accuracy_a, accuracy_b], axis=1)
    difference = accuracy_b - accuracy_a
    ends = np.array([-0.05, 0.05]) * max(0.2, np.ptp(points)) + (points.min(), points.max())
    axes.plot(ends, ends, "--", color=GREY, linewidth=1.2, zorder=1)
    sides = (
        (difference > 0, f"above: {name_b} better", layout.marker_style(1)),
        (difference < 0, f"below: {name_a} better", layout.marker_style(0)),
        (difference == 0, "on the line: equal", layout.marker_style(0, color=GREY, marker="x")),
    )
    for side, text, look in sides:
        axes.plot(*points[side].T, **look, alpha=0.8, label=layout.wrap(text))
    layout.add_legend(figure, axes.lines[1:])
    above, below, on = (side.sum() for side, _, _ in sides)
    axes.set_title(f"{len(points)} classes: {above} above the line, {below} below, {on} on it")
    axes.set(xlim=ends, ylim=ends, box_aspect=1)
    for axis, name in ((axes.xaxis, name_a), (axes.yaxis, name_b)):
        axis.set_label_text(layout.wrap(f"accuracy of {name}"))
        axis.set_major_formatter(PERCENT)
    far = [index for index in np.argsort(-abs(difference), kind="stable")[:8] if difference[index]]
    _name_points(layout.freeze(figure), axes, points, {index: class_names[index] for index in far})
    return figure


def _name_points(figure: Figure, axes: Axes, points: np.ndarray, names: Mapping[int, str]) -> None:
    """Names points (K, 2) by index, first come first served, on no other name and no point."""
    frame, dot = axes.get_window_extent(), figure.dpi / 72
    places = axes.transData.transform(points)
    taken = [Bbox([place - 4 * dot, place + 4 * dot]) for place in places]
    turns = sorted(range(-160, 181, 20), key=abs)  # from straight away from the diagonal
    line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 4}
    style: dict[str, Any] = {"ha": "center", "va": "center", "textcoords": "offset points"}
    for index, name in names.items():
        note = axes.annotate(display_name(name), points[index], (0, 0), arrowprops=line, **style)
        half = np.array(Text.get_window_extent(note).size) / 2  # an Annotation's has the line too
        away = 135 if points[index, 1] > points[index, 0] else -45
        for distance, turn in itertools.product(range(6, 50, 8), turns):
            angle = math.radians(away + turn)
            step = np.array([math.cos(angle), math.sin(angle)]) * (half + distance * dot)
            box = Bbox([places[index] + step - half, places[index] + step + half])
            if frame.count_contains(box.get_points()) == 2 and not box.count_overlaps(taken):
                note.set_position(tuple(step / dot))
                taken.append(box)
                break
        else:  # no room
            note.remove()


@styled
def per_coarse(rows: Sequence[CoarseRow], name_a: str, name_b: str) -> Figure:
    """Accuracies of A and B on each coarse label, and their difference with its interval.

    Args:
      rows: Coarse name, accuracy of A, accuracy of B, A minus B, and the low and high end of the
        95 % interval of that; shares of 1. The row where A is ahead the most comes on top.
      name_a: Name of candidate A.
      name_b: Name of candidate B.
    """
    rows = sorted(rows, key=lambda row: -row[3])
    figure, (left, right) = layout.panels(0.9 + 0.42 * len(rows), 1, 2, sharey=True)
    unclear = layout.marker_style(0, color=INK, marker="d")
    for place, (_, a, b, difference, low, high) in enumerate(rows):
        left.plot([a, b], [place, place], color=GREY, linewidth=1.5, zorder=1)
        left.plot(a, place, **layout.marker_style(0))
        left.plot(b, place, **layout.marker_style(1))
        look = unclear if low <= 0 <= high else layout.marker_style(int(difference < 0))
        right.plot([low, high], [place, place], color=look["color"], linewidth=1.5)
        right.plot(difference, place, **look)
    right.axvline(0, color=INK, linewidth=1, zorder=1)
    pair = [
        layout.legend_entry(f"A: {name_a}", **layout.marker_style(0)),
        layout.legend_entry(f"B: {name_b}", **layout.marker_style(1)),
    ]
    layout.add_legend(figure, [*pair, layout.legend_entry("the interval contains 0", **unclear)])
    left.set_yticks(range(len(rows)), [layout.wrap(display_name(row[0]), width=16) for row in rows])
    left.set(ylim=(len(rows) - 0.5, -0.5), title="Accuracy")
    left.xaxis.set_major_formatter(PERCENT)
    right.set(title="A − B", xlabel="points, 95 % interval")
    right.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 6):g}"))
    return layout.freeze(figure)


@styled
def cost(points: Sequence[CostPoint]) -> Figure:
    """Test accuracy against what it costs: operations for an image, and images per second.

    Args:
      points: One for each candidate, at least one.
    """
    figure, panels = layout.panels(3, 1, 2, sharey=True)
    steps = np.outer(10.0 ** np.arange(-9, 10), (1, 2, 5)).ravel()
    operations = [point.flops / 1e9 for point in points]
    speeds = [point.images_per_second for point in points]
    quantities = (("GFLOPs per image", operations), ("images per second", speeds))
    for axes, (what, values) in zip(panels, quantities, strict=True):
        for place, (point, value) in enumerate(zip(points, values, strict=True)):
            axes.plot(
                [value, value], [point.low, point.high], color=layout.marker_style(place)["color"]
            )
            axes.plot(value, point.accuracy, **layout.marker_style(place))
        ends = min(values) / 2.5, max(values) * 2.5
        # A step is near, within a factor of 1.6: none beyond the ends, and two at least differ.
        wanted = np.geomspace(ends[0] * 1.6, ends[1] / 1.6, 3)
        ticks = steps[np.unique([np.abs(np.log(steps / tick)).argmin() for tick in wanted])]
        axes.set(xscale="log", xlim=ends, xlabel=f"{what} (log)")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    layout.add_legend(
        figure,
        [
            layout.legend_entry(point.name, **layout.marker_style(place))
            for place, point in enumerate(points)
        ],
    )
    panels[0].set_title("Test accuracy, 95 % interval")
    panels[0].yaxis.set_major_formatter(PERCENT)
    return layout.freeze(figure)


@styled
def reliability(tables: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Accuracy against confidence of each candidate, and how confident it is how often.

    Args:
      tables: Candidate -> as `evaluate.calibration` gives it; bins of under ten examples are faint.
    """
    figure, (upper, lower) = layout.panels(5.8, 2, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], ":", color=GREY, linewidth=1.4, zorder=1)
    entries = [layout.legend_entry("perfectly calibrated", color=GREY, linestyle=":")]
    for place, (name, table) in enumerate(tables.items()):
        look = layout.marker_style(place, linestyle=("-", "--", "-.", ":")[place % 4])
        points, count = np.stack([table["confidence"], table["accuracy"]]), table["count"]
        upper.plot(*points[:, count >= 10], **look)
        upper.plot(*points[:, (count > 0) & (count < 10)], **layout.marker_style(place, alpha=0.35))
        lower.stairs(count / count.sum(), table["edges"], color=look["color"], ls=look["linestyle"])
        error = percent(scoring.expected_calibration_error(table), 1)
        entries.append(layout.legend_entry(f"{name}: calibration error {error}", **look))
    layout.add_legend(figure, entries)
    upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="accuracy")
    lower.set(ylabel="of predictions", xlabel="confidence")
    for axis in (upper.xaxis, upper.yaxis, lower.yaxis):
        axis.set_major_formatter(PERCENT)
    return layout.freeze(figure)


@styled
def seeds(
    points: Mapping[str, Sequence[float]], intervals: Mapping[str, tuple[float, float]]
) -> Figure:
    """Test accuracy of every seed, and the mean of each candidate with its interval.

    Args:
      points: Candidate -> accuracy of each seed, at least one, 0..1.
      intervals: Candidate -> low and high end of the 95 % interval of the mean.
    """
    names = {name: layout.wrap(name, width=22) for name in points}
    lines = 2 + max(name.count("\n") for name in names.values())
    figure, (axes,) = layout.panels(0.8 + (0.3 + 0.22 * lines) * len(points))
    for place, (name, accuracies) in enumerate(points.items()):
        mean, count = float(np.mean(accuracies)), len(accuracies)
        axes.plot(intervals[name], [place, place], color=layout.marker_style(place)["color"])
        axes.plot(mean, place, **layout.marker_style(place, markersize=9))
        # Hollow, so that equal ones do not hide each other, and beside the interval.
        axes.plot(
            accuracies, [place + 0.25] * count, **layout.marker_style(place, fillstyle="none")
        )
        names[name] += f"\n{percent(mean, 1)}, {count} seed" + "s" * (count > 1)
    axes.set(ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)), yticklabels=names.values())
    axes.set(title="Test accuracy: mean, 95 % interval", xlabel="hollow: every seed by itself")
    axes.xaxis.set_major_formatter(PERCENT)
    return layout.freeze(figure)
