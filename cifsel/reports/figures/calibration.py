"""The reliability diagram: whether confidence can be believed."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from cifsel.evaluation import scoring
from cifsel.reports import layout
from cifsel.reports.layout import Item
from cifsel.reports.style import GREY, PERCENT, percent, styled

# Bins of fewer predictions are faint.
FEW = 10
RELIABILITY = (
    "Predictions are sorted into bins by their confidence, the probability of the predicted class."
    " A point shows the mean confidence of a bin and the share of its predictions that are right."
    " Points below the dotted line are too sure, those above it not sure enough."
    f" Bins of fewer than {FEW} predictions are faint and off the line, as chance alone moves them."
    " The lower panel shows the share of the predictions in each bin."
)


@styled
def reliability(tables: Mapping[Item, scoring.Calibration]) -> Figure:
    """Draws accuracy against confidence of each model, and the shares of the bins.

    Bins of fewer than `FEW` predictions are faint.

    Args:
      tables: by model, the result of `scoring.calibration`.
    """
    figure, (upper, lower) = layout.panels(5.8, 2, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], ":", color=GREY, linewidth=1.4, zorder=1)
    entries = [layout.legend_entry("perfectly calibrated", color=GREY, linestyle=":")]
    any_few = False
    for item, table in tables.items():
        look = item.marker(linestyle=("-", "--", "-.", ":")[item.place % 4])
        points, count = np.stack([table.confidence, table.accuracy]), table.count
        few = (count > 0) & (count < FEW)
        any_few |= bool(few.any())
        upper.plot(*points[:, count >= FEW], **look)
        upper.plot(*points[:, few], **item.marker(alpha=0.35))
        lower.stairs(count / count.sum(), table.edges, color=look["color"], ls=look["linestyle"])
        error = percent(scoring.expected_calibration_error(table), 1)
        entries.append(layout.legend_entry(f"{item.name}: calibration error {error}", **look))
    if any_few:
        faint = layout.marker_style(0, color=GREY, alpha=0.35)
        entries.append(layout.legend_entry(f"faint: fewer than {FEW} predictions", **faint))
    layout.add_legend(figure, entries)
    upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="accuracy")
    lower.set(ylabel="of predictions", xlabel="confidence")
    for axis in (upper.xaxis, upper.yaxis, lower.yaxis):
        axis.set_major_formatter(PERCENT)
    return layout.freeze(figure)
