"""A report as one HTML file that needs nothing else, and as Markdown beside its figures."""

import base64
import html
import io
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from cifsel import rendering
from cifsel.comparison.content import Chart, Content
from cifsel.comparison.examples import Gallery

TITLE = "Which network transfers better?"
NOTES = {
    "intervals": (
        "Intervals are 95 %: Wilson's over the images for a single seed, else a t-interval over"
        " images and seeds together. All choices, which candidate to use included, were made on"
        " validation images; the test images were scored once per run."
    ),
    "pairs": (
        "Accuracy of the chosen candidate minus that of the other, on the same images. With one"
        " seed each, p is McNemar's exact test; else a t-test in which the spread between seeds is"
        " added to that between images. p is not corrected for the number of rows."
    ),
    "fairness": "Fields of the configuration in which the candidates differ; all others are equal.",
}


def as_html(content: Content, command: str) -> str:
    """The report as one file: pictures inside, no script, nothing fetched.

    Args:
      content: what it says.
      command: the one that made it.
    """
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            title=TITLE,
            content=content,
            notes=NOTES,
            command=command,
            charts=[_chart(chart) for chart in content.charts],
            galleries=[_gallery(gallery) for gallery in content.galleries],
        )
    )


def as_markdown(content: Content, command: str) -> str:
    """The report as Markdown that shows figures/NAME.png for every chart and gallery."""
    return (
        _environment()
        .get_template("report.md.jinja")
        .render(title=TITLE, content=content, notes=NOTES, command=command)
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cifsel.comparison"),
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
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|").replace("_", "\\_")


def _chart(chart: Chart) -> dict[str, Any]:
    shown: dict[str, Any] = {"title": chart.title, "large": chart.large}
    if chart.large:
        width, height = chart.figure.get_size_inches() * chart.figure.dpi
        png = _data_uri(rendering.to_png(chart.figure))
        return shown | {"png": png, "width": round(width), "height": round(height)}
    # Made by matplotlib from texts that it escapes itself.
    return shown | {"svg": Markup(rendering.to_svg(chart.figure, chart.title))}


def _gallery(gallery: Gallery) -> dict[str, Any]:
    return {
        "title": gallery.title,
        "explanation": gallery.explanation,
        "wide": any(len(tile.pictures) > 2 for tile in gallery.tiles),
        "tiles": [
            {
                "pictures": [_picture(picture) for picture in tile.pictures],
                "title": tile.title,
                "notes": tile.notes,
            }
            for tile in gallery.tiles
        ],
    }


def _picture(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
    return _data_uri(buffer.getvalue())


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
