"""The reliability diagram of a run."""

import numpy as np
from matplotlib.figure import Figure

from cifsel.evaluation import scoring
from cifsel.reports.style import BLUE, GREY, ORANGE, PERCENT, percent, styled


@styled
def reliability(table: scoring.Calibration) -> Figure:
    """Draws accuracy against confidence, and the share of predictions in each bin.

    Args:
      table: the result of `scoring.calibration`.
    """
    edges, count = table.edges, table.count
    filled, widths = count > 0, np.diff(edges)
    figure = Figure(figsize=(5, 5.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    bars = {"align": "edge", "edgecolor": "white"}
    upper.bar(edges[:-1], table.accuracy, widths, color=BLUE, label="accuracy of the bin", **bars)
    upper.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1.4, label="perfectly calibrated")
    upper.plot(
        table.confidence[filled],
        table.accuracy[filled],
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
