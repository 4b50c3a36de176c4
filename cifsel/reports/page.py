"""Writes a report as one self-contained HTML file, as Markdown with figures, and as summaries."""

import base64
import dataclasses
import functools
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import numpy as np
from etils import epath
from jaxtyping import UInt8
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from cifsel import workdir
from cifsel.errors import printable
from cifsel.reports import figures, style
from cifsel.workdir import summaries


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of texts. The first cell of each row is its heading."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class Chart:
    """A figure with its heading.

    Attributes:
      name: short, for files and summaries.
      title: the heading.
      figure: about 5.4 inches wide, or wider if `large`.
      large: whether it is too large for a phone. Then it is shown as pixels that can be scrolled.
      explanation: how to read it, shown below the heading.
    """

    name: str
    title: str
    figure: Figure
    large: bool = False
    explanation: str = ""


@dataclasses.dataclass(frozen=True)
class Tile:
    """Pictures side by side with a caption.

    Attributes:
      pictures: all of one size.
      title: first line of the caption, the label.
      notes: further lines.
      verdict: "right" or "wrong", which colours the caption in the figure, or "".
    """

    pictures: tuple[UInt8[np.ndarray, "h w 3"], ...]
    title: str
    notes: tuple[str, ...] = ()
    verdict: str = ""


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Tiles with a heading.

    Attributes:
      name: short, for files and summaries.
      title: the heading.
      explanation: the content, and how it was chosen.
      tiles: may be empty.
      photos: whether the pictures are photos. These are stored as JPEG, all others as PNG.
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
      kind: of its templates, reports/templates/KIND.html.jinja and KIND.md.jinja.
      charts: known to the templates as `charts`.
      galleries: known to the templates as `galleries`, in the order in which they are shown.
      context: other variables of the templates, by name.
    """

    kind: str
    charts: tuple[Chart, ...]
    galleries: tuple[Gallery, ...]
    context: Mapping[str, Any]

    def html(self) -> str:
        """Renders one HTML file with its pictures, without scripts and without external files."""
        return self._render(
            "html",
            [_html_chart(chart) for chart in self.charts],
            [_html_gallery(gallery) for gallery in self.galleries],
        )

    def markdown(self) -> str:
        """Renders Markdown that shows figures/NAME.png for every chart and gallery."""
        return self._render("md", self.charts, self.galleries)

    def _render(self, extension: str, charts: Sequence[Any], galleries: Sequence[Any]) -> str:
        template = _environment().get_template(f"{self.kind}.{extension}.jinja")
        return template.render(self.context, charts=charts, galleries=galleries)

    def write(self, folder: epath.Path, writer: summaries.Writer) -> None:
        """Writes report.html, report.md, figures/NAME.png, and the same as summaries.

        Args:
          folder: of the report.
          writer: of summaries.
        """
        workdir.subfolder(folder, "figures")
        figures_by_name = {chart.name: chart.figure for chart in self.charts}
        figures_by_name |= {
            gallery.name: _grid(gallery) for gallery in self.galleries if gallery.tiles
        }
        for name, figure in figures_by_name.items():
            pixels = style.save(figure, folder / "figures" / f"{name}.png")
            writer.write_images(0, {name: pixels})
        # Names of folders may hold bytes that are no text.
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
    """Escapes text so that Markdown shows it as it is, within one cell of a table."""
    line = printable(" ".join(text.split()))
    return html.escape(line, quote=False).replace("|", "\\|").replace("_", "\\_")


@dataclasses.dataclass(frozen=True)
class _HtmlChart:
    """A chart for the templates: an SVG element, or the data URI of a PNG if it is large."""

    name: str
    title: str
    large: bool
    explanation: str
    svg: str = ""
    png: str = ""
    width: int = 0
    height: int = 0


def _html_chart(chart: Chart) -> _HtmlChart:
    heading = chart.name, chart.title, chart.large, chart.explanation
    if chart.large:
        width, height = chart.figure.get_size_inches() * chart.figure.dpi
        png = _data_uri(style.to_png(chart.figure), "png")
        return _HtmlChart(*heading, png=png, width=round(width), height=round(height))
    # Safe as it is: matplotlib makes it, and escapes all texts in it.
    return _HtmlChart(*heading, svg=Markup(style.to_svg(chart.figure, chart.title)))


@dataclasses.dataclass(frozen=True)
class _HtmlTile:
    """A tile for the templates, with its pictures as data URIs."""

    pictures: tuple[str, ...]
    title: str
    notes: tuple[str, ...]
    verdict: str


@dataclasses.dataclass(frozen=True)
class _HtmlGallery:
    """A gallery for the templates. It is wide if a tile has more than two pictures."""

    title: str
    explanation: str
    photos: bool
    wide: bool
    tiles: tuple[_HtmlTile, ...]


def _html_gallery(gallery: Gallery) -> _HtmlGallery:
    tiles = tuple(
        _HtmlTile(
            tuple(_picture(picture, gallery.photos) for picture in tile.pictures),
            tile.title,
            tile.notes,
            tile.verdict,
        )
        for tile in gallery.tiles
    )
    wide = any(len(tile.pictures) > 2 for tile in gallery.tiles)
    return _HtmlGallery(gallery.title, gallery.explanation, gallery.photos, wide, tiles)


def _picture(picture: UInt8[np.ndarray, "h w 3"], photo: bool) -> str:
    """Encodes a picture as a data URI: JPEG for photos, else PNG."""
    buffer = io.BytesIO()
    if photo:
        Image.fromarray(picture).save(buffer, format="JPEG", quality=88)
        return _data_uri(buffer.getvalue(), "jpeg")
    Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
    return _data_uri(buffer.getvalue(), "png")


def _data_uri(content: bytes, subtype: str) -> str:
    return f"data:image/{subtype};base64,{base64.b64encode(content).decode()}"


def _grid(gallery: Gallery) -> Figure:
    """Draws a gallery as one figure, for TensorBoard and Markdown."""
    width = max(len(tile.pictures) for tile in gallery.tiles)

    def strip(tile: Tile) -> np.ndarray:
        missing = [np.full_like(tile.pictures[0], 255)] * (width - len(tile.pictures))
        return np.concatenate([*tile.pictures, *missing], axis=1)

    return figures.image_grid(
        np.stack([strip(tile) for tile in gallery.tiles]),
        ["\n".join((tile.title, *tile.notes)) for tile in gallery.tiles],
        [tile.verdict for tile in gallery.tiles],
        columns=4 if width > 1 else 8,
        title=gallery.title,
    )
