"""The curve of task 2's report: accuracy by photos."""

from collections.abc import Sequence
from dataclasses import astuple

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cifsel.reports import layout
from cifsel.reports.style import BLUE, PERCENT, percent, styled
from cifsel.selfie.protocol.learning_curve import CurvePoint
from cifsel.selfie.report.charts import GUESSING


@styled
def learning_curve(curve: Sequence[CurvePoint], guessing: float) -> Figure:
    """Draws accuracy by the number of photos that were learned from, with its interval.

    Args:
      curve: at least one point.
      guessing: accuracy of always answering with the most frequent class.
    """
    figure, (axes,) = layout.panels(3)
    photos, accuracy, low, high = zip(*map(astuple, curve), strict=True)
    axes.fill_between(photos, low, high, color=BLUE, alpha=0.18, linewidth=0)
    axes.plot(photos, accuracy, **layout.marker_style(0, linestyle="-"))
    axes.axhline(guessing, **GUESSING)
    entries = [
        layout.legend_entry(
            "right (shaded: 95 % interval)", **layout.marker_style(0, linestyle="-")
        ),
        layout.legend_entry(f"guessing: {percent(guessing)}", **GUESSING),
    ]
    layout.add_legend(figure, entries)
    axes.set_xlabel("photos to learn from")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, nbins=7))
    axes.yaxis.set_major_formatter(PERCENT)
    return layout.freeze(figure)
