"""A report as one HTML file that needs nothing else, and as Markdown beside its figures."""

import base64
import dataclasses
import functools
import html
import io
from collections.abc import Mapping
from typing import Any

import jinja2
import numpy as np
from etils import epath
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from cifsel import workdir
from cifsel.errors import printable
from cifsel.reports import figures, style
from cifsel.workdir import summaries


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of text below a head; the first cell of each says what the others are."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class Chart:
    """A figure with its heading.

    Attributes:
      name: short, for files and summaries.
      title: the heading.
      figure: of about 5.4 inches, or larger if `large`.
      large: too large for a phone: it is shown as pixels, to be scrolled.
      explanation: how to read it; stands below the heading.
    """

    name: str
    title: str
    figure: Figure
    large: bool = False
    explanation: str = ""


@dataclasses.dataclass(frozen=True)
class Tile:
    """Pictures that belong together, and what stands below them.

    Attributes:
      pictures: each (H, W, 3) uint8, all of one size.
      title: the truth.
      notes: further lines.
      verdict: "right" or "wrong", which colours the text of the figure; "" if it is neither.
    """

    pictures: tuple[np.ndarray, ...]
    title: str
    notes: tuple[str, ...] = ()
    verdict: str = ""


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Tiles with a heading.

    Attributes:
      name: short, for files and summaries.
      title: the heading.
      explanation: what is shown and how it was chosen.
      tiles: may be empty, if there is nothing of the kind.
      photos: the pictures are photos, for which JPEG is good enough, not pixels to be counted.
    """

    name: str
    title: str
    explanation: str
    tiles: tuple[Tile, ...]
    photos: bool = False


@dataclasses.dataclass(frozen=True)
class Page:
    """A report, ready to be written.

    Attributes:
      kind: the name of its templates: cifsel/templates/KIND.html.jinja and KIND.md.jinja.
      charts: by name, the templates find them as `charts`.
      galleries: in the order they are shown.
      said: what else the templates say, by the names that they call it.
    """

    kind: str
    charts: tuple[Chart, ...]
    galleries: tuple[Gallery, ...]
    said: Mapping[str, Any]

    def html(self) -> str:
        """The report as one file: pictures inside, no script, nothing fetched."""
        return self._rendered(
            "html",
            [_chart(chart) for chart in self.charts],
            [_gallery(gallery) for gallery in self.galleries],
        )

    def markdown(self) -> str:
        """The report as Markdown that shows figures/NAME.png for every chart and gallery."""
        return self._rendered("md", self.charts, self.galleries)

    def _rendered(self, form: str, charts: Any, galleries: Any) -> str:
        template = _environment().get_template(f"{self.kind}.{form}.jinja")
        return template.render(self.said, charts=charts, galleries=galleries)

    def write(self, folder: epath.Path, writer: summaries.Writer) -> None:
        """Writes report.html, report.md and figures/NAME.png, and the latter two as summaries."""
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        shown = {chart.name: chart.figure for chart in self.charts}
        shown |= {gallery.name: _grid(gallery) for gallery in self.galleries if gallery.tiles}
        for name, figure in shown.items():
            pixels = style.save(figure, folder / "figures" / f"{name}.png")
            writer.write_images(0, {name: pixels})
        # Names of folders need not be text.
        markdown, page = (
            text.encode(errors="backslashreplace") for text in (self.markdown(), self.html())
        )
        writer.write_texts(0, {"report": markdown.decode()})
        writer.flush()
        workdir.write_bytes(folder / "report.md", markdown)
        workdir.write_bytes(folder / "report.html", page)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cifsel.reports"),
        autoescape=lambda name: bool(name and name.endswith(".html.jinja")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = _cell
    return environment


def _cell(text: str) -> str:
    """Text that Markdown shows as it is, within one cell of a table."""
    plain = printable(" ".join(text.split()))
    return html.escape(plain, quote=False).replace("|", "\\|").replace("_", "\\_")


def _chart(chart: Chart) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": chart.name,
        "title": chart.title,
        "large": chart.large,
        "explanation": chart.explanation,
    }
    if chart.large:
        width, height = chart.figure.get_size_inches() * chart.figure.dpi
        png = _data_uri(style.to_png(chart.figure), "png")
        return shown | {"png": png, "width": round(width), "height": round(height)}
    # Made by matplotlib from texts that it escapes itself.
    return shown | {"svg": Markup(style.to_svg(chart.figure, chart.title))}


def _gallery(gallery: Gallery) -> dict[str, Any]:
    return {
        "title": gallery.title,
        "explanation": gallery.explanation,
        "photos": gallery.photos,
        "wide": any(len(tile.pictures) > 2 for tile in gallery.tiles),
        "tiles": [
            {
                "pictures": [_picture(picture, gallery.photos) for picture in tile.pictures],
                "title": tile.title,
                "notes": tile.notes,
                "verdict": tile.verdict,
            }
            for tile in gallery.tiles
        ],
    }


def _picture(picture: np.ndarray, photo: bool) -> str:
    buffer = io.BytesIO()
    if photo:
        Image.fromarray(picture).save(buffer, format="JPEG", quality=88)
        return _data_uri(buffer.getvalue(), "jpeg")
    Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
    return _data_uri(buffer.getvalue(), "png")


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _grid(gallery: Gallery) -> Figure:
    """A gallery as one figure, for TensorBoard and Markdown."""
    most = max(len(tile.pictures) for tile in gallery.tiles)

    def strip(tile: Tile) -> np.ndarray:
        missing = [np.full_like(tile.pictures[0], 255)] * (most - len(tile.pictures))
        return np.concatenate([*tile.pictures, *missing], axis=1)

    return figures.image_grid(
        np.stack([strip(tile) for tile in gallery.tiles]),
        ["\n".join((tile.title, *tile.notes)) for tile in gallery.tiles],
        [tile.verdict for tile in gallery.tiles],
        columns=4 if most > 1 else 8,
        title=gallery.title,
    )
