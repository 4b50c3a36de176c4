"""How figures look, and how they become pixels and files.

Nothing goes through pyplot, so there are no windows and no figures to close, and a user's own
matplotlib settings change nothing. Colours are those of Okabe and Ito 2008, which people with any
kind of colour vision can tell apart; what a colour says is said in words or signs as well.
"""

import io
import os

import numpy as np
from etils import epath
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from cifsel import workdir

# Their bluish green is too pale for small print: this one is darker.
BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#00795A", "#8A8A8A", "#222222"
DPI = 100  # TensorBoard shows one pixel as one pixel, so this is a screen's resolution
_STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so figures look the same everywhere
    "font.size": 9,
    "text.parse_math": False,  # a class may be called "$"
    "text.color": INK,
    "figure.dpi": DPI,
    "figure.facecolor": "white",
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": "#E6E6E6",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.edgecolor": "white",
    "legend.framealpha": 0.85,
    "lines.linewidth": 1.8,
}
# Not only while drawing: ticks come into being at rendering, and take the settings of that moment.
styled = style.context(["default", _STYLE])
PERCENT = FuncFormatter(lambda share, _: f"{round(100 * share, 6):g} %")


@styled
def to_rgb(figure: Figure) -> np.ndarray:
    """Renders to (H, W, 3) uint8, as TensorBoard takes it."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


@styled
def to_png(figure: Figure) -> bytes:
    """Renders to a PNG file, without date or version: the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figure.dpi, metadata={"Software": None})
    return buffer.getvalue()


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a PNG; at no time is there a half-written file of that name. gs:// paths work."""
    workdir.write_bytes(epath.Path(path), to_png(figure))


def plain(name: str) -> str:
    """A class name as people write it."""
    return name.replace("_", " ")


def percent(share: float, digits: int = 0) -> str:
    """A share of 1 as text."""
    return f"{100 * share:.{digits}f} %"
