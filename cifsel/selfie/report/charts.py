"""The charts of task 2's report as matplotlib figures. They show no photo, and fit on a phone."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from cifsel.reports import layout
from cifsel.reports.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PERCENT,
    display_name,
    percent,
    shortened,
    styled,
)
from cifsel.runtime.terminal import count
from cifsel.selfie.protocol.permutation import PermutationTest

# Up to so many photos are named in a chart.
NAMED = 40
# A confusion matrix of up to so many classes fits on a phone.
FEW_CLASSES = 10
# The strongest shade of a cell on which text can be read, on a light and on a dark page.
_DARKEST = 0.45
# The look of the line of guessing.
GUESSING: dict[str, Any] = {"color": GREY, "linestyle": "--", "linewidth": 1.4}


@dataclass(frozen=True)
class Estimate:
    """An accuracy with its 95 % interval, shares of 1."""

    accuracy: float
    low: float
    high: float


@styled
def per_photo(
    probabilities: Float[np.ndarray, "n k"],
    labels: Int[np.ndarray, " n"],
    names: Sequence[str],
    class_names: Sequence[str],
) -> Figure:
    """Draws the probability that each photo's true class was given, the lowest on top.

    Args:
      probabilities: out of fold.
      labels: the true classes.
      names: N names. They are shown, shortened, for up to `NAMED` photos. More photos are dots in
        a row for each class.
      class_names: K names.
    """
    given = probabilities[np.arange(len(labels)), labels]
    right = probabilities.argmax(1) == labels
    order = np.argsort(given, kind="stable")
    if len(labels) <= NAMED:
        places = np.empty(len(labels))
        places[order] = np.arange(len(labels))
        figure, (axes,) = layout.panels(0.9 + 0.22 * len(labels))
        axes.set_yticks(range(len(labels)), [shortened(names[index]) for index in order])
        axes.hlines(places, 0, given, color=GREY, linewidth=0.7, alpha=0.6)
    else:
        places = labels + _spread(given, labels)
        figure, (axes,) = layout.panels(
            0.9 + (0.9 if len(class_names) < 5 else 0.6) * len(class_names)
        )
        ticks = [layout.wrap(display_name(name), width=16) for name in class_names]
        axes.set_yticks(range(len(class_names)), ticks)
    axes.axvline(1 / len(class_names), **GUESSING)
    looks = {True: layout.marker_style(0), False: layout.marker_style(1, marker="X")}
    for verdict, look in looks.items():
        axes.plot(given[right == verdict], places[right == verdict], **look, clip_on=False)
    entries = [
        layout.legend_entry(f"right: {right.sum()} of {len(right)}", **looks[True]),
        layout.legend_entry(f"wrong: {(~right).sum()} of {len(right)}", **looks[False]),
        layout.legend_entry("guessing", **GUESSING),
    ]
    layout.add_legend(figure, entries)
    edge = (places.max() + 0.6, -0.6)
    axes.set(xlim=(0, 1), ylim=edge, xlabel="probability that it gave to the true class")
    axes.xaxis.set_major_formatter(PERCENT)
    axes.grid(visible=False, axis="y")
    return layout.freeze(figure)


def _spread(given: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Makes offsets within a row, so that equal probabilities do not hide each other."""
    steps = np.array([0.0, 0.2, -0.2, 0.1, -0.1, 0.3, -0.3])
    offsets = np.zeros(len(given))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ordered = members[np.argsort(given[members], kind="stable")]
        offsets[ordered] = np.resize(steps, len(ordered))
    return offsets


@styled
def accuracies(
    estimates: Mapping[str, Mapping[str, Estimate]], guessing: float, chosen: str
) -> Figure:
    """Draws the accuracy of every candidate with its interval, and that of guessing.

    Args:
      estimates: by candidate and protocol. A candidate may lack a protocol.
      guessing: accuracy of always answering with the most frequent class.
      chosen: the candidate that the final model is made from.
    """
    protocols = list(dict.fromkeys(name for own in estimates.values() for name in own))
    figure, (axes,) = layout.panels(1.0 + 0.75 * len(estimates))
    values = [guessing]
    ticks = []
    for row, (name, by_protocol) in enumerate(estimates.items()):
        for protocol, estimate in by_protocol.items():
            place = protocols.index(protocol)
            y = row + 0.22 * (place - (len(protocols) - 1) / 2)
            axes.plot(
                [estimate.low, estimate.high], [y, y], color=layout.marker_style(place)["color"]
            )
            axes.plot(estimate.accuracy, y, **layout.marker_style(place))
            values += [estimate.low, estimate.high]
        ticks.append(layout.wrap(f"{name} (chosen)" if name == chosen else name, width=20))
    axes.axvline(guessing, **GUESSING)
    entries = [
        layout.legend_entry(name, **layout.marker_style(place))
        for place, name in enumerate(protocols)
    ]
    entries.append(layout.legend_entry(f"guessing: {percent(guessing)}", **GUESSING))
    layout.add_legend(figure, entries)
    axes.set_yticks(range(len(ticks)), ticks)
    axes.set(ylim=(len(ticks) - 0.5, -0.5), xlim=(min(values) - 0.03, max(values) + 0.03))
    axes.set_xlabel("of the photos right, with 95 % interval")
    axes.xaxis.set_major_formatter(PERCENT)
    return layout.freeze(figure)


@styled
def confusion(counts: Num[np.ndarray, "k k"], class_names: Sequence[str]) -> Figure:
    """Draws the confusion matrix, rows true, columns predicted.

    Args:
      counts: numbers of photos, whole or means of several repetitions.
      class_names: K names.
    """
    classes, large = len(class_names), len(class_names) > FEW_CLASSES
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-9)
    figure, (axes,) = layout.panels(1.1 + (0.34 if large else 0.52) * classes)
    if large:
        figure.set_figwidth(2.4 + 0.42 * classes)
    texts = [[_count(value) for value in row] for row in counts]
    _cells(axes, shares, texts, np.where(np.eye(classes, dtype=bool), BLUE, ORANGE))
    width = 20 if large else max(6, 40 // classes)
    names = [layout.wrap(display_name(name), width=width) for name in class_names]
    axes.set_xticks(range(classes), names, rotation=90 if large or classes > 5 else 0)
    axes.set_yticks(
        range(classes), [layout.wrap(display_name(name), width=18) for name in class_names]
    )
    axes.set(xlabel="what the model said", ylabel="what it is")
    return layout.freeze(figure)


def _count(value: float) -> str:
    """Writes a whole number without digits, a mean with one digit, and nothing for 0."""
    if value < 0.05:
        return "" if value == 0 else "<0.1"
    return f"{value:.0f}" if abs(value - round(value)) < 1e-6 else f"{value:.1f}"


@styled
def permutation(test: PermutationTest) -> Figure:
    """Draws the accuracies with permuted labels as a histogram, and that with the true labels."""
    figure, (axes,) = layout.panels(3)
    values = np.asarray(test.accuracies, float)
    # Bars are as wide as one more right answer, if accuracies are that coarse, to leave no gaps.
    distinct = np.unique(values.round(9))
    step = max(np.diff(distinct).min() if len(distinct) > 1 else 0.02, np.ptp(values) / 20, 1e-3)
    edges = np.arange(values.min() - step / 2, values.max() + step, step)
    axes.hist(values, edges, color=GREY, edgecolor="none", rwidth=0.92)
    axes.axvline(test.observed, color=ORANGE, linewidth=2.2)
    entries = [
        layout.legend_entry(
            f"labels shuffled, {count(len(values), 'time')}", color=GREY, linewidth=6
        ),
        layout.legend_entry(
            f"true labels: {percent(test.observed, 1)}", color=ORANGE, linewidth=2.2
        ),
    ]
    layout.add_legend(figure, entries)
    axes.set(xlabel="right, mean over the classes", ylabel="shufflings")
    axes.xaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(visible=False, axis="x")
    return layout.freeze(figure)


@styled
def choices(shares: Mapping[tuple[str, int], float]) -> Figure:
    """Draws the share of the folds in which each layer and grid was chosen.

    Args:
      shares: by layer and grid, at least one. Pairs that are missing were never chosen.
    """
    layers = sorted({layer for layer, _ in shares}, key=_depth)
    grids = sorted({grid for _, grid in shares})
    table = np.array([[shares.get((layer, grid), 0.0) for grid in grids] for layer in layers])
    texts = [[_share(share) for share in row] for row in table]
    figure, (axes,) = layout.panels(0.9 + 0.36 * len(layers))
    _cells(axes, table / table.max(), texts, np.full(table.shape, BLUE))
    axes.set_xticks(range(len(grids)), [f"{grid} × {grid}" for grid in grids])
    axes.set_yticks(range(len(layers)), layers)
    axes.set(xlabel="the picture is cut into", ylabel="layer")
    return layout.freeze(figure)


def _share(share: float) -> str:
    return percent(share) if share >= 0.01 else "< 1 %" if share else ""


def _depth(layer: str) -> tuple[object, ...]:
    """Makes the key that sorts the stem first, blocks by number, and the top last."""
    parts = re.split(r"(\d+)", layer)
    number = int(parts[1]) if len(parts) > 1 else 0
    return (layer != "stem", len(parts) == 1, number, parts[-1])


def _cells(
    axes: Axes, shades: np.ndarray, texts: Sequence[Sequence[str]], colours: np.ndarray
) -> None:
    """Draws a table of shaded cells. Shades (R, C) are 0 to 1."""
    rows, columns = shades.shape
    for row, column in np.ndindex(rows, columns):
        corner, colour = (column - 0.48, row - 0.46), str(colours[row, column])
        alpha = _DARKEST * float(shades[row, column])
        axes.add_patch(Rectangle(corner, 0.96, 0.92, facecolor=colour, alpha=alpha, linewidth=0))
        text = texts[row][column]
        axes.text(column, row, text, ha="center", va="center", size=layout.FONT_SIZE, color=INK)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
