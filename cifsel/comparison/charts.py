"""The figures of a comparison: numbers of several candidates in, matplotlib Figure out.

Colour and marker of a candidate depend on its place. It looks the same in all figures that list
the candidates in the same order.
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
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from cifsel.comparison.paired import Estimate
from cifsel.comparison.scores import CoarseComparison
from cifsel.evaluation import scoring
from cifsel.reports import layout
from cifsel.reports.style import GREY, INK, PERCENT, display_name, percent, styled
from cifsel.terminal import count
from cifsel.training.progress import Epoch

History = Sequence[Epoch]


@dataclass(frozen=True)
class CostPoint:
    """Cost and test accuracy of a candidate.

    Attributes:
      name: of the candidate.
      flops: floating-point operations per image, > 0.
      images_per_second: > 0.
      accuracy: 0..1.
      low: lower end of its 95 % interval.
      high: upper end.
    """

    name: str
    flops: float
    images_per_second: float
    accuracy: float
    low: float
    high: float


@styled
def training_curves(histories: Mapping[str, Sequence[History]]) -> Figure:
    """Draws accuracy and loss by epoch, of validation solid, of training dashed.

    Several seeds are thin lines. Their mean is a thick line over the epochs that all of them have.

    Args:
      histories: by name of the candidate, a history per seed.

    Raises:
      ValueError: no candidate has an epoch.
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
            _draw_curve(accuracy if key.endswith("accuracy") else loss, trained, key, place)
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


def _draw_curve(axes: Axes, seeds: Sequence[History], key: str, place: int) -> None:
    """Draws one field of the epochs, of all seeds of the candidate at that place."""
    hollow = key.startswith("train")
    series = [{epoch.epoch: getattr(epoch, key) for epoch in seed} for seed in seeds]
    look = layout.marker_style(place, linestyle="--" if hollow else "-")
    thin = look | {"marker": "", "linewidth": 0.7, "alpha": 0.6}
    for values in series if len(series) > 1 else ():
        axes.plot(list(values), np.array(list(values.values()), float), **thin)
    common = sorted(set.intersection(*map(set, series)))
    mean = np.array([[values[epoch] for epoch in common] for values in series], float).mean(axis=0)
    # Without markers a single epoch could not be seen. Many of them would hide the line.
    look |= {"markersize": 5, "markevery": max(1, len(common) // 6)}
    axes.plot(common, mean, **look, fillstyle="none" if hollow else "full")


@styled
def accuracy_by_class(
    class_names: Sequence[str],
    accuracy_a: Float[np.ndarray, " classes"],
    accuracy_b: Float[np.ndarray, " classes"],
    name_a: str,
    name_b: str,
) -> Figure:
    """Draws the accuracy of B against that of A by class, and names the largest differences.

    Args:
      class_names: names of the classes.
      accuracy_a: accuracies of A, 0..1.
      accuracy_b: accuracies of B.
      name_a: name of candidate A.
      name_b: name of candidate B.
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
def accuracy_by_coarse_label(rows: Sequence[CoarseComparison], name_a: str, name_b: str) -> Figure:
    """Draws accuracies of A and B on each coarse label, and their difference with its interval.

    Args:
      rows: one per coarse label. The one where A is ahead the most comes on top.
      name_a: name of candidate A.
      name_b: name of candidate B.
    """
    rows = sorted(rows, key=lambda row: -row.difference.mean)
    figure, (left, right) = layout.panels(0.9 + 0.42 * len(rows), 1, 2, sharey=True)
    unclear = layout.marker_style(0, color=INK, marker="d")
    for place, row in enumerate(rows):
        difference = row.difference
        left.plot([row.a, row.b], [place, place], color=GREY, linewidth=1.5, zorder=1)
        left.plot(row.a, place, **layout.marker_style(0))
        left.plot(row.b, place, **layout.marker_style(1))
        if difference.low <= 0 <= difference.high:
            look = unclear
        else:
            look = layout.marker_style(int(difference.mean < 0))
        interval = [difference.low, difference.high]
        right.plot(interval, [place, place], color=look["color"], linewidth=1.5)
        right.plot(difference.mean, place, **look)
    right.axvline(0, color=INK, linewidth=1, zorder=1)
    pair = [
        layout.legend_entry(f"A: {name_a}", **layout.marker_style(0)),
        layout.legend_entry(f"B: {name_b}", **layout.marker_style(1)),
    ]
    layout.add_legend(figure, [*pair, layout.legend_entry("the interval contains 0", **unclear)])
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
    styles = [layout.marker_style(place) for place in range(len(points))]
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
    layout.add_legend(figure, [layout.legend_entry(p.name, **look) for p, look in named])
    panels[0].set_title("Test accuracy, 95 % interval")
    panels[0].yaxis.set_major_formatter(PERCENT)
    return layout.freeze(figure)


@styled
def reliability_diagram(tables: Mapping[str, scoring.Calibration]) -> Figure:
    """Draws accuracy against confidence of each candidate, and the shares of the bins.

    Bins of less than ten examples are faint.

    Args:
      tables: by name of the candidate, the result of `scoring.calibration`.
    """
    figure, (upper, lower) = layout.panels(5.8, 2, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], ":", color=GREY, linewidth=1.4, zorder=1)
    entries = [layout.legend_entry("perfectly calibrated", color=GREY, linestyle=":")]
    for place, (name, table) in enumerate(tables.items()):
        look = layout.marker_style(place, linestyle=("-", "--", "-.", ":")[place % 4])
        points, count = np.stack([table.confidence, table.accuracy]), table.count
        upper.plot(*points[:, count >= 10], **look)
        upper.plot(*points[:, (count > 0) & (count < 10)], **layout.marker_style(place, alpha=0.35))
        lower.stairs(count / count.sum(), table.edges, color=look["color"], ls=look["linestyle"])
        error = percent(scoring.expected_calibration_error(table), 1)
        entries.append(layout.legend_entry(f"{name}: calibration error {error}", **look))
    layout.add_legend(figure, entries)
    upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="accuracy")
    lower.set(ylabel="of predictions", xlabel="confidence")
    for axis in (upper.xaxis, upper.yaxis, lower.yaxis):
        axis.set_major_formatter(PERCENT)
    return layout.freeze(figure)


@styled
def accuracy_by_seed(accuracies: Mapping[str, Estimate]) -> Figure:
    """Draws the test accuracy of every seed, and the mean of each candidate with its interval.

    Args:
      accuracies: by name of the candidate.
    """
    names = {name: layout.wrap(name, width=22) for name in accuracies}
    lines = 2 + max(name.count("\n") for name in names.values())
    figure, (axes,) = layout.panels(0.8 + (0.3 + 0.22 * lines) * len(accuracies))
    for place, (name, accuracy) in enumerate(accuracies.items()):
        mean, seeds = float(np.mean(accuracy.by_seed)), accuracy.by_seed
        interval, line = [accuracy.low, accuracy.high], [place, place]
        axes.plot(interval, line, color=layout.marker_style(place)["color"])
        axes.plot(mean, place, **layout.marker_style(place, markersize=9))
        # Hollow, so that equal ones do not hide each other.
        hollow = layout.marker_style(place, fillstyle="none")
        axes.plot(seeds, [place + 0.25] * len(seeds), **hollow)
        names[name] += f"\n{percent(mean, 1)}, {count(len(seeds), 'seed')}"
    axes.set(ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)), yticklabels=names.values())
    axes.set(title="Test accuracy: mean, 95 % interval", xlabel="hollow: every seed by itself")
    axes.xaxis.set_major_formatter(PERCENT)
    return layout.freeze(figure)
