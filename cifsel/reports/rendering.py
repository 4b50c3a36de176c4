"""Renders a page by its templates, as HTML with all pictures in it, and as Markdown."""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from jaxtyping import UInt8
from markupsafe import Markup
from PIL import Image

from cifsel.prediction import gradcam
from cifsel.reports import escaping, style
from cifsel.reports.glossary import Glossary
from cifsel.reports.matrix import Confusion

if TYPE_CHECKING:
    from cifsel.reports.page import Chart, Gallery, Page


def html(page: Page) -> str:
    """Renders one HTML file with its pictures, without scripts and without external files."""
    template = _environment("html").get_template(f"{page.kind}.html.jinja")
    return template.render(
        page.context,
        charts=[_chart(chart) for chart in page.charts],
        galleries=[_gallery(gallery) for gallery in page.galleries],
        note_below=page.note,
        glossary=Glossary(),
        contents=[],
        heat_scale=_picture(gradcam.scale(), photo=False),
    )


def markdown(page: Page) -> str:
    """Renders Markdown that shows figures/NAME.png for every chart and gallery."""
    template = _environment("md").get_template(f"{page.kind}.md.jinja")
    return template.render(
        page.context, charts=page.charts, galleries=page.galleries, note_below=page.note
    )


@functools.cache
def _environment(extension: str) -> jinja2.Environment:
    is_html = extension == "html"
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cifsel.reports"),
        autoescape=is_html,
        finalize=_shown if is_html else None,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = escaping.cell
    environment.filters["code"] = escaping.code_block
    return environment


def _shown(value: Any) -> Any:
    """Prepares a value for HTML. What is HTML already stays."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return escaping.shown(value)
    return value


@dataclasses.dataclass(frozen=True)
class _HtmlChart:
    """A chart for the templates: an SVG element, or a matrix that they draw."""

    name: str
    title: str
    explanation: str
    svg: str
    matrix: Confusion | None


def _chart(chart: Chart) -> _HtmlChart:
    # Safe as it is: matplotlib makes it, and escapes all texts in it.
    svg = "" if chart.matrix else Markup(style.to_svg(chart.figure, chart.title))
    return _HtmlChart(chart.name, chart.title, chart.explanation, svg, chart.matrix)


@dataclasses.dataclass(frozen=True)
class _HtmlTile:
    """A tile for the templates: pictures as data URIs, each with its label."""

    pictures: tuple[tuple[str, str], ...]
    title: str
    notes: tuple[str, ...]
    verdict: str


@dataclasses.dataclass(frozen=True)
class _HtmlGallery:
    """A gallery for the templates. Its columns are "single", "pairs" or "strips"."""

    name: str
    title: str
    explanation: str
    photos: bool
    folded: bool
    heat: bool
    columns: str
    tiles: tuple[_HtmlTile, ...]


def _gallery(gallery: Gallery) -> _HtmlGallery:
    most = max((len(tile.pictures) for tile in gallery.tiles), default=1)
    tiles = []
    for tile in gallery.tiles:
        labels = tile.labels or ("",) * len(tile.pictures)
        pictures = [_picture(picture, photo=gallery.photos) for picture in tile.pictures]
        pairs = tuple(zip(pictures, labels, strict=True))
        tiles.append(_HtmlTile(pairs, tile.title, tile.notes, tile.verdict))
    return _HtmlGallery(
        name=gallery.name,
        title=gallery.title,
        explanation=gallery.explanation,
        photos=gallery.photos,
        folded=gallery.folded,
        heat=gallery.heat and bool(tiles),
        columns={1: "single", 2: "pairs"}.get(most, "strips"),
        tiles=tuple(tiles),
    )


def _picture(picture: UInt8[np.ndarray, "h w 3"], *, photo: bool) -> str:
    """Encodes a picture as a data URI: JPEG for photos, else PNG."""
    buffer = io.BytesIO()
    if photo:
        Image.fromarray(picture).save(buffer, format="JPEG", quality=88)
        return _data_uri(buffer.getvalue(), "jpeg")
    Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
    return _data_uri(buffer.getvalue(), "png")


def _data_uri(content: bytes, subtype: str) -> str:
    return f"data:image/{subtype};base64,{base64.b64encode(content).decode()}"
