"""A report: one self-contained HTML file, Markdown with figures, and summaries."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import UInt8
from matplotlib.figure import Figure

from cifsel import workdir
from cifsel.reports import figures, rendering, style
from cifsel.reports.matrix import Confusion
from cifsel.workdir import summaries

# The note of pages on images that this program draws.
DRAWN = "Drawn images: this program drew them. The numbers say nothing of photos."


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
      figure: about 5.4 inches wide, if it has no matrix.
      explanation: how to read it, shown below the heading.
      matrix: is shown in HTML in place of the figure.
    """

    name: str
    title: str
    figure: Figure
    explanation: str = ""
    matrix: Confusion | None = None


@dataclasses.dataclass(frozen=True)
class Tile:
    """Pictures side by side with a caption.

    Attributes:
      pictures: all of one size.
      title: first line of the caption, the label.
      notes: further lines.
      verdict: "right" or "wrong", which colours the caption in the figure, or "".
      labels: what each picture shows. Empty if there is nothing to say.
    """

    pictures: tuple[UInt8[np.ndarray, "h w 3"], ...]
    title: str
    notes: tuple[str, ...] = ()
    verdict: str = ""
    labels: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Tiles with a heading.

    Attributes:
      name: short, for files and summaries.
      title: the heading.
      explanation: the content, and how it was chosen.
      tiles: may be empty.
      photos: whether the pictures are photos. These are stored as JPEG, all others as PNG.
      folded: whether it is a detail that is shown when it is asked for.
      heat: whether pictures are overlaid with heat, whose scale is shown.
    """

    name: str
    title: str
    explanation: str
    tiles: tuple[Tile, ...]
    photos: bool = False
    folded: bool = False
    heat: bool = False


@dataclasses.dataclass(frozen=True)
class Page:
    """A report, ready to be written.

    Attributes:
      kind: of its templates, reports/templates/KIND.html.jinja and KIND.md.jinja.
      charts: known to the templates as `charts`. The first is shown beside the verdict.
      galleries: known to the templates as `galleries`, in the order in which they are shown.
      context: other variables of the templates, by name.
      note: is shown with every figure, such as that the images are drawn. "" for none.
    """

    kind: str
    charts: tuple[Chart, ...]
    galleries: tuple[Gallery, ...]
    context: Mapping[str, Any]
    note: str = ""

    def html(self) -> str:
        """Renders one HTML file with its pictures, without scripts and without external files."""
        return rendering.html(self)

    def markdown(self) -> str:
        """Renders Markdown that shows figures/NAME.png for every chart and gallery."""
        return rendering.markdown(self)

    def write(self, folder: epath.Path, writer: summaries.Writer, step: int = 0) -> None:
        """Writes report.html, report.md, figures/NAME.png, and the same as summaries.

        Args:
          folder: of the report.
          writer: of summaries.
          step: of the summaries.
        """
        workdir.subfolder(folder, "figures")
        figures_by_name = {chart.name: chart.figure for chart in self.charts}
        figures_by_name |= {
            gallery.name: _grid(gallery) for gallery in self.galleries if gallery.tiles
        }
        for name, figure in figures_by_name.items():
            pixels = style.save(figure, folder / "figures" / f"{name}.png", self.note)
            writer.write_images(step, {f"figures/{name}": pixels})
        # Names of folders may hold bytes that are no text.
        markdown, page = (
            text.encode(errors="backslashreplace") for text in (self.markdown(), self.html())
        )
        writer.write_texts(step, {"report": markdown.decode()})
        writer.flush()
        workdir.write_bytes(folder / "report.md", markdown)
        workdir.write_bytes(folder / "report.html", page)


def _grid(gallery: Gallery) -> Figure:
    """Draws a gallery as one figure, for TensorBoard and Markdown."""
    width = max(len(tile.pictures) for tile in gallery.tiles)

    def strip(tile: Tile) -> np.ndarray:
        missing = [np.full_like(tile.pictures[0], 255)] * (width - len(tile.pictures))
        return np.concatenate([*tile.pictures, *missing], axis=1)

    def caption(tile: Tile) -> str:
        labels = (" | ".join(tile.labels),) if any(tile.labels) else ()
        return "\n".join((tile.title, *labels, *tile.notes))

    return figures.image_grid(
        np.stack([strip(tile) for tile in gallery.tiles]),
        [caption(tile) for tile in gallery.tiles],
        [tile.verdict for tile in gallery.tiles],
        columns={1: 8, 2: 4, 3: 3}.get(width, 2),
        side=128,
        pictures=width,
        title=gallery.title,
    )
