"""The style of figures, and their rendering to pixels, PNG and SVG.

Nothing goes through pyplot, so there are no windows and no figures to close. The user's own
matplotlib settings have no effect. Colours are those of Okabe and Ito 2008, which people with any
kind of colour vision can tell apart. No meaning is carried by colour alone.
"""

import contextlib
import hashlib
import io
import math
import os
import re
from collections.abc import Iterator
from xml.etree import ElementTree

import matplotlib
import numpy as np
from etils import epath
from jaxtyping import UInt8
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image

from cifsel import workdir
from cifsel.reports import glyphs

# The bluish green of Okabe and Ito is too pale for small letters. This one is darker.
BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#00795A", "#8A8A8A", "#222222"
_GRID = "#E6E6E6"
DPI = 100  # That of a screen, as TensorBoard shows figures pixel by pixel.
_STYLE = {
    "font.family": glyphs.families(),  # The first comes with matplotlib, so it is everywhere.
    "font.size": 9,
    "text.parse_math": False,  # The name of a class may contain "$".
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


@contextlib.contextmanager
def _drawing() -> Iterator[None]:
    with style.context(["default", _STYLE]), glyphs.no_warnings():
        yield


# Needed for rendering too, as ticks are made then, with the settings of that moment.
styled = _drawing()
PERCENT = FuncFormatter(lambda share, _: f"{round(100 * share, 6):g} %")


@styled
def to_rgb(figure: Figure) -> UInt8[np.ndarray, "h w 3"]:
    """Renders a figure to pixels, as TensorBoard takes them."""
    canvas = glyphs.Canvas(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def to_png(figure: Figure) -> bytes:
    """Renders a figure to a PNG file. The same figure gives the same bytes."""
    return _png(to_rgb(figure))


def _png(rgb: UInt8[np.ndarray, "h w 3"]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "png")
    return buffer.getvalue()


_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
# Colours that a page can replace in dark mode. The grid is thin ink, as grey lines that are faint
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
    """Renders a figure to an <svg> element for a page of HTML, light or dark.

    Text stays text. INK becomes the text colour of the page. BLUE, ORANGE and GREEN become its
    variables --blue, --orange and --green where it defines them. Nothing is painted behind the
    figure, so a figure that paints white itself (a legend with a frame) is for light pages only.
    The element has the class "chart" and no size, only proportions: it is as wide as its parent.

    Args:
      figure: the figure. The same figure and title give the same text.
      title: read by screen readers. It must differ between the charts of a page.
    """
    buffer = io.BytesIO()
    # Text stays as it is, since browsers have more fonts.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cifsel"}):
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
    root = ElementTree.fromstring(buffer.getvalue())  # Leaves out prolog, doctype and comments.
    for parent in list(root.iter()):
        # matplotlib's style sheet would apply to the whole page.
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
    # matplotlib leaves out the colour of black elements.
    root.attrib |= {"fill": "currentColor", "stroke-linejoin": "round"}
    heading = ElementTree.Element("title")
    heading.text = title
    root.insert(0, heading)
    return ElementTree.tostring(root, encoding="unicode")


def _rename_ids(root: ElementTree.Element, prefix: str) -> None:
    """Renames the ids that are referred to, as charts of a page must not share any."""
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
    """Replaces colours and font of a style attribute by those of the page."""
    for colour, in_a_page in _IN_A_PAGE.items():
        declarations = declarations.replace(colour.lower(), in_a_page)
    # Verdana is as wide as DejaVu Sans, and most phones and desktops have it.
    return declarations.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")


def save(
    figure: Figure, path: str | os.PathLike[str], note: str = ""
) -> UInt8[np.ndarray, "h w 3"]:
    """Writes a PNG file, which is whole or not there, and returns the pixels.

    Args:
      figure: the figure.
      path: of the file, local or gs://.
      note: a line below the figure.
    """
    rgb = to_rgb(figure)
    if note:
        rgb = with_note(rgb, note)
    workdir.write_bytes(epath.Path(path), _png(rgb))
    return rgb


def display_name(name: str) -> str:
    """Writes the name of a class or field as people do, without underscores."""
    return name.replace("_", " ")


def percent(share: float, digits: int = 0) -> str:
    """Writes a share of 1 as a percentage."""
    return f"{100 * share:.{digits}f} %"


def significant(value: float) -> str:
    """Writes a number with three digits, such as 0.0123, 0.391, 39.1 or 1,230."""
    rounded = float(f"{value:.2e}")
    decimals = 2 - math.floor(math.log10(abs(rounded))) if rounded else 0
    return f"{rounded:,.{max(0, decimals)}f}"


def shortened(name: str, length: int = 26) -> str:
    """Shortens a name in its middle. Names of photos of one phone differ near the end."""
    start = length // 4
    return name if len(name) <= length else f"{name[:start]}…{name[start + 1 - length :]}"


@styled
def with_note(rgb: UInt8[np.ndarray, "h w 3"], note: str) -> UInt8[np.ndarray, "_ w 3"]:
    """Adds a line of text below a picture."""
    height, width = 22, rgb.shape[1]
    strip = Figure(figsize=(width / DPI, height / DPI))
    strip.text(1 - 6 / width, 0.5, note, ha="right", va="center", size=8, color=INK)
    return np.concatenate([rgb, to_rgb(strip)])
