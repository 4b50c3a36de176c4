"""Figures of how a model was fitted: training curves, and the search for the probe's L2 penalty."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from cifsel.reports.style import BLUE, GREY, INK, ORANGE, PERCENT, percent, styled

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


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
