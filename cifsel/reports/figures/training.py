"""Figures of how models were fitted: training curves, and the search for the probe's penalty."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from cifsel.reports import layout
from cifsel.reports.layout import Item
from cifsel.reports.style import INK, PERCENT, percent, styled
from cifsel.training.progress import Epoch
from cifsel.training.results import RunMetrics

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclasses.dataclass(frozen=True)
class Curve:
    """The fine-tuning of a run.

    Attributes:
      history: the epochs. Empty without fine-tuning.
      start: loss and accuracy by field of `Epoch` before the first step, those of the probe. Empty
        if training began with a random head.
      best: number of the epoch that is kept. 0 is the start.
    """

    history: Sequence[Epoch]
    start: Mapping[str, float] = dataclasses.field(default_factory=dict)
    best: int = 0

    @classmethod
    def of(cls, metrics: RunMetrics) -> "Curve":
        """Makes the curve of a run."""
        probe = metrics.probe["chosen"] if metrics.probe else {}
        start = {name: probe[name] for name in ("val_loss", "val_accuracy") if name in probe}
        training = metrics.training
        return cls(training.history, start, training.best.epoch if training.best else 0)

    def values(self, field: str) -> dict[int, float]:
        """Returns a field by epoch. Epoch 0 is the start."""
        start = {0: self.start[field]} if field in self.start else {}
        return start | {epoch.epoch: getattr(epoch, field) for epoch in self.history}


@styled
def training_curves(curves: Mapping[Item, Sequence[Curve]]) -> Figure:
    """Draws accuracy and loss by epoch, of validation solid, of training dashed.

    Several seeds are thin lines. Their mean is a thick line over the epochs that all of them have.
    A star marks the best epoch of a single seed.

    Args:
      curves: by model, one per seed.

    Raises:
      ValueError: no model has an epoch.
    """
    figure, (accuracy, loss) = layout.panels(5.4, 2, sharex=True)
    entries = []
    for item, seeds in curves.items():
        trained = [seed for seed in seeds if seed.history]
        if not trained:
            continue
        several = f" (mean of {len(trained)} seeds)" if len(trained) > 1 else ""
        entries.append(layout.legend_entry(item.name + several, **item.marker(linestyle="-")))
        for field in ("val_accuracy", "train_accuracy", "val_loss", "train_loss"):
            _draw_curve(accuracy if field.endswith("accuracy") else loss, trained, field, item)
        if len(trained) == 1:
            entries.append(_mark_best(accuracy, trained[0], item))
    if not entries:
        raise ValueError("none of the candidates has a training history")
    entries += [
        layout.legend_entry("validation", color=INK),
        layout.legend_entry("training (hollow)", color=INK, ls="--"),
    ]
    layout.add_legend(figure, entries)
    accuracy.set_title("Accuracy")
    accuracy.yaxis.set_major_formatter(PERCENT)
    loss.set(title="Loss (nats)", xlabel=_epochs_label(curves))
    loss.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return layout.freeze(figure)


def _epochs_label(curves: Mapping[Item, Sequence[Curve]]) -> str:
    starts = any(curve.start and curve.history for seeds in curves.values() for curve in seeds)
    return "epoch (0: the probe that training starts from)" if starts else "epoch"


def _draw_curve(axes: Axes, seeds: Sequence[Curve], field: str, item: Item) -> None:
    """Draws one field of the epochs, of all seeds of a model."""
    hollow = field.startswith("train")
    series = [seed.values(field) for seed in seeds]
    look = item.marker(linestyle="--" if hollow else "-")
    thin = look | {"marker": "", "linewidth": 0.7, "alpha": 0.6}
    for values in series if len(series) > 1 else ():
        axes.plot(list(values), np.array(list(values.values()), float), **thin)
    common = sorted(set.intersection(*map(set, series)))
    mean = np.array([[values[epoch] for epoch in common] for values in series], float).mean(axis=0)
    # Without markers a single epoch could not be seen. Many of them would hide the line.
    look |= {"markersize": 5, "markevery": max(1, len(common) // 6)}
    axes.plot(common, mean, **look, fillstyle="none" if hollow else "full")


def _mark_best(axes: Axes, curve: Curve, item: Item) -> Line2D:
    accuracy = curve.values("val_accuracy")[curve.best]
    star = item.marker(marker="*", markersize=13)
    axes.plot(curve.best, accuracy, **star)
    text = f"best: epoch {curve.best}, {percent(accuracy, 1)}"
    return layout.legend_entry(text, **star)


@styled
def l2_path(
    l2: Sequence[float],
    val_losses: Sequence[float],
    val_accuracies: Sequence[float],
    chosen: float,
    item: Item,
) -> Figure:
    """Draws validation loss and accuracy of the probe over the strength of its L2 penalty.

    Args:
      l2: strengths, > 0, in any order.
      val_losses: a loss for each strength, in nats.
      val_accuracies: an accuracy for each strength, 0..1.
      chosen: the strength that was chosen, which is marked.
      item: the model.
    """
    order = np.argsort(l2)
    strengths = np.asarray(l2, float)[order]
    figure, (accuracy, loss) = layout.panels(4.6, 2, sharex=True)
    panels = (
        (accuracy, "Validation accuracy", val_accuracies),
        (loss, "Validation loss (nats)", val_losses),
    )
    for axes, title, values in panels:
        axes.set_xscale("log")
        axes.plot(strengths, np.asarray(values, float)[order], **item.marker(linestyle="-"))
        axes.axvline(chosen, color=INK, linestyle=":", linewidth=1.4)
        axes.set_title(title)
    loss.set_xlabel(f"L2 penalty (dotted: chosen, {chosen:.2g})")
    loss.xaxis.set_major_locator(LogLocator(numticks=9))
    loss.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _power_of_ten(value)))
    accuracy.yaxis.set_major_formatter(PERCENT)
    return layout.freeze(figure)


def _power_of_ten(value: float) -> str:
    return "10" + str(round(math.log10(value))).translate(_SUPERSCRIPT)
