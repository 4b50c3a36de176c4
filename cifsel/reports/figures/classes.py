"""Figures by class: the confusion matrix, and the classes of lowest accuracy."""

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from cifsel.evaluation.split_score import ClassScore
from cifsel.reports import layout
from cifsel.reports.layout import Item
from cifsel.reports.style import GREY, INK, PERCENT, display_name, percent, shortened, styled
from cifsel.runtime.terminal import count


@styled
def confusion_matrix(
    counts: Int[np.ndarray, "k k"],
    class_names: Sequence[str],
    coarse_names: Sequence[str] = (),
    coarse_of: Int[np.ndarray, " k"] | None = None,
) -> Figure:
    """Draws the share of each true class (rows) that was taken for each class (columns).

    Args:
      counts: rows true, columns predicted. A row without examples stays grey.
      class_names: K names.
      coarse_names: names of the coarse labels.
      coarse_of: the coarse label of each class, by which classes are sorted. None for no groups.
    """
    size = len(class_names)
    groups = np.zeros(size, np.int64) if coarse_of is None else np.asarray(coarse_of)
    order = np.argsort(groups, kind="stable")
    totals = counts.sum(axis=1, keepdims=True)
    share = np.where(totals > 0, counts / np.maximum(totals, 1), np.nan)[np.ix_(order, order)]
    large = size > 10
    side = max(2.6, 0.24 * size)
    figure = Figure(figsize=(side + (3.1 if large else 2.2), side + 1.9), layout="constrained")
    axes = figure.add_subplot()
    colours = matplotlib.colormaps["magma_r"].with_extremes(under="white", bad="#DDDDDD")
    # The square root, as most mistakes of a good model are below a tenth. White means never.
    norm = PowerNorm(0.5, vmin=1e-9, vmax=1)
    image = axes.imshow(share, cmap=colours, norm=norm, interpolation="nearest")
    _write_shares(axes, share, large)
    names = [display_name(class_names[index]) for index in order]
    axes.set_xticks(range(size), names, rotation=90 if large else 0, size=8.5)
    axes.set_yticks(range(size), names, size=8.5)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)
    axes.set(xlabel="predicted class", ylabel="true class")
    if coarse_of is not None:
        _mark_groups(axes, groups[order], coarse_names)
    right = percent(np.trace(counts) / max(1, counts.sum()), 1)
    images = count(int(counts.sum()), "image")
    title = f"Confusion matrix, % of each true class\n{images}, {right} right"
    figure.suptitle(title, weight="bold", size=11 if large else 9)
    if large:
        ticks = [0.01, 0.05, 0.2, 0.5, 1]
        bar = figure.colorbar(image, ax=axes, shrink=0.35, aspect=25, ticks=ticks, format=PERCENT)
        bar.ax.minorticks_off()
    return figure


def _write_shares(axes: Axes, share: Float[np.ndarray, "k k"], large: bool) -> None:
    """Writes percentages into the cells. A large matrix has those of 5 % and more only."""
    for row, column in np.argwhere(share >= (0.05 if large else 0)).tolist():
        colour = "white" if share[row, column] > 0.14 else INK
        text = f"{100 * share[row, column]:.0f}"
        size = 7 if large else 11
        axes.text(column, row, text, ha="center", va="center", size=size, color=colour)


def _mark_groups(axes: Axes, groups: Int[np.ndarray, " k"], coarse_names: Sequence[str]) -> None:
    """Draws lines between the groups, and writes their names above and right of the matrix."""
    present, first, members = np.unique(groups, return_index=True, return_counts=True)
    for edge in first[1:] - 0.5:
        axes.axhline(edge, color=GREY, linewidth=0.7)
        axes.axvline(edge, color=GREY, linewidth=0.7)
    centres = first + (members - 1) / 2
    names = [textwrap.fill(display_name(coarse_names[group]), 14) for group in present]
    above, beside = axes.secondary_xaxis("top"), axes.secondary_yaxis("right")
    above.set_xticks(centres, names, size=7.5)
    beside.set_yticks(centres, names, size=7.5)
    for secondary in (above, beside):
        secondary.tick_params(length=0)
        secondary.spines[:].set_visible(False)


@styled
def worst_classes(per_class: Mapping[str, ClassScore], item: Item, n: int = 15) -> Figure:
    """Draws the classes of lowest accuracy, worst on top, with their 95 % intervals.

    Args:
      per_class: by name of the class. Classes without examples are left out.
      item: the model.
      n: largest number of classes.
    """
    known = {
        name: (score.accuracy, score.interval, score.examples)
        for name, score in per_class.items()
        if score.accuracy is not None
    }
    shown = sorted(known, key=lambda name: known[name][0])[:n]
    accuracy = np.array([known[name][0] for name in shown])
    bounds = np.array([known[name][1] for name in shown]).reshape(-1, 2)
    names = [f"{shortened(display_name(name))}   {percent(known[name][0])}" for name in shown]
    places = np.arange(len(shown))
    figure, (axes,) = layout.panels(0.8 + 0.27 * max(1, len(shown)))
    colour = item.marker()["color"]
    axes.barh(places, accuracy, color=colour, height=0.66, alpha=0.55)
    reach = np.abs(bounds.T - accuracy)
    axes.errorbar(accuracy, places, xerr=reach, fmt="none", ecolor=INK, elinewidth=1, capsize=2.5)
    total = sum(examples for _, _, examples in known.values())
    right = sum(share * examples for share, _, examples in known.values())
    overall = right / max(1, total)
    dashed = {"color": GREY, "linestyle": "--", "linewidth": 1.4}
    axes.axvline(overall, **dashed)
    text = f"all {len(known)} classes: {percent(overall, 1)}"
    layout.add_legend(figure, [layout.legend_entry(text, **dashed)])
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set(xlim=(0, 1), xlabel="accuracy, with 95 % Wilson interval")
    axes.xaxis.set_major_formatter(PERCENT)
    return layout.freeze(figure)
