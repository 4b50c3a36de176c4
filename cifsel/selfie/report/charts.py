"""The figures of task 2: numbers about a person's photos in, matplotlib Figure out.

None of them shows a photo. All are narrow, to be read on a phone.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from cifsel.reports import layout
from cifsel.reports.style import BLUE, GREY, INK, ORANGE, PERCENT, display_name, percent, styled

# More names than this make a figure that nobody reads to its end.
NAMED = 40
# Up to here a matrix of classes fits on a phone.
FEW_CLASSES = 10
# Cells are shaded so far only, that text on them can be read on a light and on a dark page.
_DARKEST = 0.45
_GUESSING: dict[str, Any] = {"color": GREY, "linestyle": "--", "linewidth": 1.4}


@dataclass(frozen=True)
class Estimate:
    """An accuracy with its 95 % interval; shares of 1."""

    accuracy: float
    low: float
    high: float


@styled
def per_photo(
    probabilities: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    class_names: Sequence[str],
) -> Figure:
    """The probability that each photo's true class was given, the lowest on top.

    Args:
      probabilities: (N, K), each row by a model that had not seen that photo.
      labels: (N,) integer, the truth.
      names: N names; shown, shortened, for up to `NAMED` photos. More are shown as dots in a row
        for each class.
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
    axes.axvline(1 / len(class_names), **_GUESSING)
    looks = {True: layout.marker_style(0), False: layout.marker_style(1, marker="X")}
    for verdict, look in looks.items():
        axes.plot(given[right == verdict], places[right == verdict], **look, clip_on=False)
    entries = [
        layout.legend_entry(f"right: {right.sum()} of {len(right)}", **looks[True]),
        layout.legend_entry(f"wrong: {(~right).sum()} of {len(right)}", **looks[False]),
        layout.legend_entry("guessing", **_GUESSING),
    ]
    layout.add_legend(figure, entries)
    edge = (places.max() + 0.6, -0.6)
    axes.set(xlim=(0, 1), ylim=edge, xlabel="probability that it gave to the true class")
    axes.xaxis.set_major_formatter(PERCENT)
    axes.grid(visible=False, axis="y")
    return layout.freeze(figure)


def _spread(given: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Offsets within a row, so that equal probabilities do not hide each other."""
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
    """Accuracy of every candidate, by every protocol, with its interval, and of guessing.

    Args:
      estimates: candidate -> protocol -> estimate; candidates may lack a protocol.
      guessing: accuracy of always naming the most frequent class.
      chosen: the candidate that the final model comes from.
    """
    protocols = list(dict.fromkeys(name for one in estimates.values() for name in one))
    figure, (axes,) = layout.panels(1.0 + 0.75 * len(estimates))
    every = [guessing]
    ticks = []
    for row, (name, by_protocol) in enumerate(estimates.items()):
        for protocol, one in by_protocol.items():
            place = protocols.index(protocol)
            y = row + 0.22 * (place - (len(protocols) - 1) / 2)
            axes.plot([one.low, one.high], [y, y], color=layout.marker_style(place)["color"])
            axes.plot(one.accuracy, y, **layout.marker_style(place))
            every += [one.low, one.high]
        ticks.append(layout.wrap(f"{name} (chosen)" if name == chosen else name, width=20))
    axes.axvline(guessing, **_GUESSING)
    entries = [
        layout.legend_entry(name, **layout.marker_style(place))
        for place, name in enumerate(protocols)
    ]
    entries.append(layout.legend_entry(f"guessing: {percent(guessing)}", **_GUESSING))
    layout.add_legend(figure, entries)
    axes.set_yticks(range(len(ticks)), ticks)
    axes.set(ylim=(len(ticks) - 0.5, -0.5), xlim=(min(every) - 0.03, max(every) + 0.03))
    axes.set_xlabel("of the photos right, with 95 % interval")
    axes.xaxis.set_major_formatter(PERCENT)
    return layout.freeze(figure)


@styled
def confusion(counts: np.ndarray, class_names: Sequence[str]) -> Figure:
    """How many photos of each class (rows) were taken for each class (columns).

    Args:
      counts: (K, K), whole numbers or means of several repetitions.
      class_names: K names.
    """
    classes = len(class_names)
    large = classes > FEW_CLASSES
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
    """A whole number as one; a mean with one digit; nothing for nothing."""
    if value < 0.05:
        return "" if value == 0 else "<0.1"
    return f"{value:.0f}" if abs(value - round(value)) < 1e-6 else f"{value:.1f}"


@styled
def learning_curve(photos: Sequence[float], found: Sequence[Estimate], guessing: float) -> Figure:
    """Accuracy over the number of photos that it learned from, with its interval.

    Args:
      photos: how many, on average over the folds.
      found: as many estimates.
      guessing: accuracy of always naming the most frequent class.
    """
    figure, (axes,) = layout.panels(3)
    values = np.array([(one.accuracy, one.low, one.high) for one in found]).T
    axes.fill_between(photos, values[1], values[2], color=BLUE, alpha=0.18, linewidth=0)
    axes.plot(photos, values[0], **layout.marker_style(0, linestyle="-"))
    axes.axhline(guessing, **_GUESSING)
    entries = [
        layout.legend_entry(
            "right (shaded: 95 % interval)", **layout.marker_style(0, linestyle="-")
        ),
        layout.legend_entry(f"guessing: {percent(guessing)}", **_GUESSING),
    ]
    layout.add_legend(figure, entries)
    axes.set_xlabel("photos to learn from")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, nbins=7))
    axes.yaxis.set_major_formatter(PERCENT)
    return layout.freeze(figure)


@styled
def epochs(passes: Sequence[int], losses: Sequence[float], guessing: float) -> Figure:
    """Loss of photos put aside, over the epochs of fine-tuning.

    Args:
      passes: how many epochs; 0 is before the first.
      losses: as many losses, nats.
      guessing: loss of finding all classes equally likely.
    """
    figure, (axes,) = layout.panels(2.6)
    axes.plot(passes, losses, **layout.marker_style(0, linestyle="-"))
    axes.axhline(guessing, **_GUESSING)
    layout.add_legend(
        figure,
        [
            layout.legend_entry("log loss", **layout.marker_style(0, linestyle="-")),
            layout.legend_entry(f"guessing: {guessing:.2f}", **_GUESSING),
        ],
    )
    axes.set(xlabel="epochs of fine-tuning, 0: the probe", ylabel="log loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return layout.freeze(figure)


@styled
def permutation(accuracies: Sequence[float], observed: float) -> Figure:
    """How often a model was right whose photos had shuffled labels, against the true labels.

    Args:
      accuracies: balanced, one for each shuffling, at least one.
      observed: with the true labels.
    """
    figure, (axes,) = layout.panels(3)
    values = np.asarray(accuracies, float)
    # As wide as one more right answer, where accuracies are that coarse: else gaps would appear.
    distinct = np.unique(values.round(9))
    step = max(np.diff(distinct).min() if len(distinct) > 1 else 0.02, np.ptp(values) / 20, 1e-3)
    edges = np.arange(values.min() - step / 2, values.max() + step, step)
    axes.hist(values, edges, color=GREY, edgecolor="none", rwidth=0.92)
    axes.axvline(observed, color=ORANGE, linewidth=2.2)
    entries = [
        layout.legend_entry(f"labels shuffled, {len(values):,} times", color=GREY, linewidth=6),
        layout.legend_entry(f"true labels: {percent(observed, 1)}", color=ORANGE, linewidth=2.2),
    ]
    layout.add_legend(figure, entries)
    axes.set(xlabel="right, mean over the classes", ylabel="shufflings")
    axes.xaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(visible=False, axis="x")
    return layout.freeze(figure)


@styled
def choices(shares: Mapping[tuple[str, int], float]) -> Figure:
    """In what share of the folds each layer, over each grid, was chosen.

    Args:
      shares: (layer, grid) -> share of 1; at least one. What is missing was never chosen.
    """
    layers = sorted({layer for layer, _ in shares}, key=_depth)
    grids = sorted({grid for _, grid in shares})
    found = np.array([[shares.get((layer, grid), 0.0) for grid in grids] for layer in layers])
    texts = [[_share(share) for share in row] for row in found]
    figure, (axes,) = layout.panels(0.9 + 0.36 * len(layers))
    _cells(axes, found / found.max(), texts, np.full(found.shape, BLUE))
    axes.set_xticks(range(len(grids)), [f"{grid} × {grid}" for grid in grids])
    axes.set_yticks(range(len(layers)), layers)
    axes.set(xlabel="the picture is cut into", ylabel="layer")
    return layout.freeze(figure)


def _share(share: float) -> str:
    return percent(share) if share >= 0.01 else "< 1 %" if share else ""


def _depth(layer: str) -> tuple[object, ...]:
    """Sorts stem, blocks by number (block2 before block10), top."""
    parts = re.split(r"(\d+)", layer)
    number = int(parts[1]) if len(parts) > 1 else 0
    return (layer != "stem", len(parts) == 1, number, parts[-1])


def _cells(
    axes: Axes, shades: np.ndarray, texts: Sequence[Sequence[str]], colours: np.ndarray
) -> None:
    """A table of shaded cells; shades (R, C) are 0 to 1."""
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


def shortened(name: str, length: int = 26) -> str:
    """The name, or its two ends: what tells the photos of one phone apart is near the end."""
    start = length // 4
    return name if len(name) <= length else f"{name[:start]}…{name[start + 1 - length :]}"
