"""How figures look, and how they become pixels and files.

Nothing goes through pyplot, so there are no windows and no figures to close, and a user's own
matplotlib settings change nothing. Colours are those of Okabe and Ito 2008, which people with any
kind of colour vision can tell apart; what a colour says is said in words or signs as well.
"""

import hashlib
import io
import os
import re
from xml.etree import ElementTree

import matplotlib
import numpy as np
from etils import epath
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image

from cifsel import workdir

# Their bluish green is too pale for small print: this one is darker.
BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#00795A", "#8A8A8A", "#222222"
_GRID = "#E6E6E6"
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
    "grid.color": _GRID,
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


def to_png(figure: Figure) -> bytes:
    """Renders to a PNG file, without date or version: the same figure gives the same bytes."""
    return _png(to_rgb(figure))


def _png(rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "png")
    return buffer.getvalue()


_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
# What a page can set for its dark mode. The grid is ink too, only thin: grey lines that are faint
# on white would glare on black.
_IN_A_PAGE = {
    INK: "currentColor",
    _GRID: "currentColor; stroke-opacity: 0.13",
    BLUE: f"var(--blue, {BLUE})",
    ORANGE: f"var(--orange, {ORANGE})",
    GREEN: f"var(--green, {GREEN})",
}


@styled
def to_svg(figure: Figure, title: str) -> str:
    """Renders to an <svg> element to stand within a page of HTML, light or dark.

    Letters stay letters; what is INK takes the page's text colour, and BLUE, ORANGE and GREEN its
    --blue, --orange and --green where it defines them. Nothing is painted behind the figure, so
    one that paints white itself (a legend with a frame) is for light pages only. The element has
    the class "chart", no size, only proportions, and is as wide as the page lets it be.

    Args:
      figure: What to draw; the same figure and title give the same text.
      title: What a screen reader says in its place; differs between the charts of one page.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cifsel"}):
        nobody = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nobody)
    root = ElementTree.fromstring(buffer.getvalue())  # leaves out prolog, doctype and comments
    for parent in list(root.iter()):
        # Within a page matplotlib's style sheet would hold for the whole page.
        for sheet in parent.findall(f"{_SVG}style"):
            parent.remove(sheet)
    digest = hashlib.sha256(title.encode() + buffer.getvalue()).hexdigest()
    _rename_ids(root, f"c{digest[:12]}")
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        if "style" in element.attrib:
            element.set("style", _page_style(element.attrib["style"]))
    box = root.attrib["viewBox"]
    root.attrib = {"xmlns": _SVG[1:-1], "class": "chart", "viewBox": box, "role": "img"}
    # matplotlib leaves out the colour of what is black.
    root.attrib |= {"fill": "currentColor", "stroke-linejoin": "round"}
    heading = ElementTree.Element("title")
    heading.text = title
    root.insert(0, heading)
    return ElementTree.tostring(root, encoding="unicode")


def _rename_ids(root: ElementTree.Element, prefix: str) -> None:
    """Keeps the ids that are referred to, under new names: all charts of a page share one space."""
    ids = {element.get("id"): f"{prefix}-{n}" for n, element in enumerate(root.iter())}
    used: set[str] = set()

    def renamed(reference: re.Match[str]) -> str:
        used.add(ids[reference[2]])
        return reference[1] + ids[reference[2]]

    for element in root.iter():
        if _LINK in element.attrib:
            element.set("href", re.sub(r"^(#)(.+)", renamed, element.attrib.pop(_LINK)))
        for key, value in element.items():
            element.set(key, re.sub(r"(url\(#)([^)]+)", renamed, value))
    for element in root.iter():
        new = ids[element.attrib.pop("id", None)]
        if new in used:
            element.set("id", new)


def _page_style(declarations: str) -> str:
    for colour, in_a_page in _IN_A_PAGE.items():
        declarations = declarations.replace(colour.lower(), in_a_page)
    # Verdana is as wide, and on most phones and desktops; DejaVu Sans is not.
    return declarations.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")


def save(figure: Figure, path: str | os.PathLike[str]) -> np.ndarray:
    """Writes a PNG, and returns the same as `to_rgb` does.

    At no time is there a half-written file of that name. gs:// paths work.
    """
    rgb = to_rgb(figure)
    workdir.write_bytes(epath.Path(path), _png(rgb))
    return rgb


def display_name(name: str) -> str:
    """A class name as people write it."""
    return name.replace("_", " ")


def percent(share: float, digits: int = 0) -> str:
    """A share of 1 as text."""
    return f"{100 * share:.{digits}f} %"
