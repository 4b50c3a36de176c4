"""The figures of a run: arrays in, matplotlib Figure out; `rendering` makes pixels of it."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from cifsel.evaluation import scoring
from cifsel.reports.style import (
    BLUE,
    DPI,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PERCENT,
    display_name,
    percent,
    styled,
)

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def prediction_captions(
    true_names: Sequence[str], predicted_names: Sequence[str], probabilities: Sequence[float]
) -> tuple[list[str], list[str]]:
    """Captions for `image_grid`: the truth, and below it what the model says and how sure it is.

    Args:
      true_names: N names.
      predicted_names: N names.
      probabilities: N probabilities of the predicted class, 0..1.

    Returns:
      N captions, and N verdicts, "right" or "wrong".
    """
    captions, verdicts = [], []
    for true, predicted, share in zip(true_names, predicted_names, probabilities, strict=True):
        right = true == predicted
        said = f"✓ {percent(share)}" if right else f"✗ {display_name(predicted)} {percent(share)}"
        captions.append(f"{display_name(true)}\n{said}")
        verdicts.append("right" if right else "wrong")
    return captions, verdicts


@styled
def image_grid(
    images: np.ndarray,
    captions: Sequence[str] | None = None,
    verdicts: Sequence[str] | None = None,
    *,
    columns: int = 8,
    title: str = "",
) -> Figure:
    """Images in rows, each pixel a whole number of screen pixels, with a caption below each.

    Args:
      images: (N, H, W, 3) uint8, N >= 1; small ones are enlarged to about 128 pixels.
      captions: N texts, of one or more lines.
      verdicts: "right" or "wrong" for each caption, which colours it.
      columns: Images in a row.
      title: Above everything.

    Raises:
      ValueError: There is nothing to show, or images, captions and verdicts differ in number.
    """
    total, height, width = images.shape[:3]
    captions = [""] * total if captions is None else captions
    verdicts = [""] * total if verdicts is None else verdicts
    if total < 1 or not total == len(captions) == len(verdicts):
        raise ValueError(f"{total} images, {len(captions)} captions, {len(verdicts)} verdicts")
    scale, gap, line = max(1, round(128 / width)), 14, 13
    columns = min(columns, total)
    rows = math.ceil(total / columns)
    below = line * max(text.count("\n") + 1 if text else 0 for text in captions)
    step_x, step_y = width * scale + gap, height * scale + below + gap
    full_x, full_y = columns * step_x + gap, rows * step_y + gap + (2 * line if title else 0)
    figure = Figure(figsize=(full_x / DPI, full_y / DPI))
    figure.text(gap / full_x, 1 - gap / full_y, title, va="top", weight="bold", size=10)
    colour = {"right": GREEN, "wrong": ORANGE, "": INK}
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        left, bottom = gap + column * step_x, gap + (rows - 1 - row) * step_y + below
        # Not through axes: those would resample, and sixty of them take seconds.
        figure.figimage(image.repeat(scale, 0).repeat(scale, 1), left, bottom, origin="upper")
        figure.text(
            (left + width * scale / 2) / full_x,
            (bottom - 3) / full_y,
            captions[index],
            ha="center",
            va="top",
            size=8,
            linespacing=1.1,
            color=colour[verdicts[index]],
        )
    return figure


@styled
def training_curves(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Loss, accuracy and learning rate by epoch; the epoch of highest validation accuracy marked.

    Args:
      history: One mapping per epoch, at least one: epoch, train_loss, val_loss, train_accuracy,
        val_accuracy (0..1), learning_rate. Missing and None leave a gap; of epochs with equal
        validation accuracy the first counts as the best.
    """
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3, width_ratios=[3, 3, 2])
    epochs = _column(history, "epoch")
    for axes, quantity in ((loss, "loss"), (accuracy, "accuracy")):
        for part, name, colour in (("train", "training", BLUE), ("val", "validation", ORANGE)):
            _line(axes, epochs, _column(history, f"{part}_{quantity}"), colour, name)
        axes.legend()
    _line(rate, epochs, _column(history, "learning_rate"), GREY, "learning rate")
    loss.set_title("Loss (nats)")
    accuracy.set_title("Accuracy")
    rate.set_title("Learning rate")
    accuracy.yaxis.set_major_formatter(PERCENT)
    rate.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for axes in (loss, accuracy, rate):
        axes.set(xlabel="epoch", xlim=(epochs[0] - 0.5, epochs[-1] + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    validation = _column(history, "val_accuracy")
    if np.isfinite(validation).any():
        best = int(np.nanargmax(validation))
        for axes in (loss, accuracy):
            axes.axvline(epochs[best], color=GREY, linestyle=":", linewidth=1.2, zorder=1)
        accuracy.plot(epochs[best], validation[best], "*", color=ORANGE, markersize=13)
        found = f"★ best: epoch {epochs[best]:g}, {percent(validation[best], 1)}"
        accuracy.set_title(found, loc="right", size=9, weight="normal", color=ORANGE)
    return figure


@styled
def confusion_matrix(
    counts: np.ndarray,
    class_names: Sequence[str],
    coarse_names: Sequence[str] = (),
    coarse_of: np.ndarray | None = None,
) -> Figure:
    """Share of each true class (rows) that was taken for each class (columns), in percent.

    Args:
      counts: (K, K) integer, rows true, columns predicted; a row without examples stays grey.
      class_names: K names.
      coarse_names: C names.
      coarse_of: (K,) integer, the group of each class; classes are sorted by it. None: no groups.
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
    # The square root, since the mistakes of a good model are all below a tenth; white is never.
    norm = PowerNorm(0.5, vmin=1e-9, vmax=1)
    image = axes.imshow(share, cmap=colours, norm=norm, interpolation="nearest")
    for row, column in np.argwhere(share >= (0.05 if large else 0)).tolist():
        colour = "white" if share[row, column] > 0.14 else INK
        text = f"{100 * share[row, column]:.0f}"
        size_of_text = 7 if large else 11
        axes.text(column, row, text, ha="center", va="center", size=size_of_text, color=colour)
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
    title = f"Confusion matrix, % of each true class\n{counts.sum():,} images, {right} right"
    figure.suptitle(title, weight="bold", size=11 if large else 9)
    if large:
        ticks = [0.01, 0.05, 0.2, 0.5, 1]
        bar = figure.colorbar(image, ax=axes, shrink=0.35, aspect=25, ticks=ticks, format=PERCENT)
        bar.ax.minorticks_off()
    return figure


def _mark_groups(axes: Axes, groups: np.ndarray, coarse_names: Sequence[str]) -> None:
    """Lines between the groups, and their names above and to the right of the matrix."""
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
def worst_classes(per_class: Mapping[str, Mapping[str, Any]], n: int = 15) -> Figure:
    """The classes of lowest accuracy, worst on top, with their 95 % intervals.

    Args:
      per_class: As in `evaluate.score`: name -> accuracy, interval, examples. Classes without
        examples are left out.
      n: How many, at the most.
    """
    known = [(name, entry) for name, entry in per_class.items() if entry["examples"]]
    shown = sorted(known, key=lambda pair: pair[1]["accuracy"])[:n]
    accuracy = np.array([entry["accuracy"] for _, entry in shown])
    bounds = np.array([entry["interval"] for _, entry in shown]).reshape(-1, 2)
    names = [f"{display_name(name)}   {percent(entry['accuracy'])}" for name, entry in shown]
    places = np.arange(len(shown))
    figure = Figure(figsize=(7, 1.2 + 0.27 * max(1, len(shown))), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(places, accuracy, color=BLUE, height=0.66)
    reach = np.abs(bounds.T - accuracy)
    axes.errorbar(accuracy, places, xerr=reach, fmt="none", ecolor=INK, elinewidth=1, capsize=2.5)
    examples = sum(entry["examples"] for _, entry in known)
    overall = sum(entry["accuracy"] * entry["examples"] for _, entry in known) / max(1, examples)
    axes.axvline(overall, color=ORANGE, linestyle="--", linewidth=1.4)
    together = f"dashed: all {len(known)} classes, {percent(overall, 1)}"
    axes.set_title(together, loc="right", size=9, weight="normal", color=ORANGE)
    axes.set_title("Classes of lowest accuracy")
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set(xlim=(0, 1), xlabel="accuracy, with 95 % Wilson interval")
    axes.xaxis.set_major_formatter(PERCENT)
    return figure


@styled
def reliability(table: Mapping[str, np.ndarray]) -> Figure:
    """Accuracy against confidence, and how many predictions were that confident.

    Args:
      table: As `evaluate.calibration` gives it.
    """
    edges, count = table["edges"], table["count"]
    filled, widths = count > 0, np.diff(edges)
    figure = Figure(figsize=(5, 5.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    bars = {"align": "edge", "edgecolor": "white"}
    upper.bar(
        edges[:-1], table["accuracy"], widths, color=BLUE, label="accuracy of the bin", **bars
    )
    upper.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1.4, label="perfectly calibrated")
    upper.plot(
        table["confidence"][filled],
        table["accuracy"][filled],
        "o",
        color=ORANGE,
        markersize=4.5,
        clip_on=False,
        label="the same, at its mean confidence",
    )
    error = scoring.expected_calibration_error(table)
    upper.set_title(f"Reliability: calibration error {percent(error, 1)} in {len(count)} bins")
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    upper.legend(loc="upper left")
    lower.bar(edges[:-1], count / count.sum(), widths, color=GREY, **bars)
    lower.set(xlabel="confidence (probability of the predicted class)", ylabel="of predictions")
    for axis in (upper.xaxis, upper.yaxis, lower.yaxis):
        axis.set_major_formatter(PERCENT)
    return figure


@styled
def l2_path(
    l2: Sequence[float], val_losses: Sequence[float], val_accuracies: Sequence[float], chosen: float
) -> Figure:
    """Validation loss and accuracy of the probe over the strength of its L2 penalty.

    Args:
      l2: Strengths, > 0, in any order.
      val_losses: As many losses, nats.
      val_accuracies: As many accuracies, 0..1.
      chosen: The strength that was chosen; marked.
    """
    order = np.argsort(l2)
    strengths = np.asarray(l2, float)[order]
    figure = Figure(figsize=(8.5, 3.4), layout="constrained")
    panels: tuple[tuple[str, Sequence[float], str], ...] = (
        ("Validation loss (nats)", val_losses, BLUE),
        ("Validation accuracy", val_accuracies, ORANGE),
    )
    for axes, (title, values, colour) in zip(figure.subplots(1, 2), panels, strict=True):
        axes.set_xscale("log")
        _line(axes, strengths, np.asarray(values, float)[order], colour, title)
        axes.axvline(chosen, color=INK, linestyle=":", linewidth=1.4)
        axes.set_title(title)
        axes.set_xlabel(f"L2 penalty (dotted: chosen, {chosen:.2g})")
        axes.xaxis.set_major_locator(LogLocator(numticks=9))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _power_of_ten(value)))
    axes.yaxis.set_major_formatter(PERCENT)
    return figure


def _power_of_ten(value: float) -> str:
    return "10" + str(round(math.log10(value))).translate(_SUPERSCRIPT)


def _column(history: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    values = [epoch.get(key) for epoch in history]
    return np.array([math.nan if value is None else value for value in values], float)


def _line(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str, label: str) -> None:
    # Markers where there are few points: without them a single epoch would be invisible.
    axes.plot(x, y, marker="o" if len(x) <= 30 else "", markersize=4, color=colour, label=label)
