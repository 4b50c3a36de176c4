"""Figures of how a model was fitted: training curves, and the search for the probe's L2 penalty."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from cifsel.reports.style import BLUE, GREY, INK, ORANGE, PERCENT, percent, styled
from cifsel.training.progress import Epoch

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@styled
def training_curves(history: Sequence[Epoch]) -> Figure:
    """Draws loss, accuracy and learning rate by epoch, and marks the best epoch.

    The best epoch is the one of highest validation accuracy, the first of equals.

    Args:
      history: the epochs, at least one.
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
    best = int(np.argmax(validation))
    for axes in (loss, accuracy):
        axes.axvline(epochs[best], color=GREY, linestyle=":", linewidth=1.2, zorder=1)
    accuracy.plot(epochs[best], validation[best], "*", color=ORANGE, markersize=13)
    label = f"★ best: epoch {epochs[best]:g}, {percent(validation[best], 1)}"
    accuracy.set_title(label, loc="right", size=9, weight="normal", color=ORANGE)
    return figure


@styled
def l2_path(
    l2: Sequence[float], val_losses: Sequence[float], val_accuracies: Sequence[float], chosen: float
) -> Figure:
    """Draws validation loss and accuracy of the probe over the strength of its L2 penalty.

    Args:
      l2: strengths, > 0, in any order.
      val_losses: a loss for each strength, in nats.
      val_accuracies: an accuracy for each strength, 0..1.
      chosen: the strength that was chosen, which is marked.
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


def _column(history: Sequence[Epoch], name: str) -> Float[np.ndarray, " epochs"]:
    """Returns one field of all epochs."""
    return np.array([getattr(epoch, name) for epoch in history], float)


def _line(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str, label: str) -> None:
    # Without markers a single epoch would be invisible.
    axes.plot(x, y, marker="o" if len(x) <= 30 else "", markersize=4, color=colour, label=label)
