"""Grids of images with captions."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure

from cifsel.reports.style import DPI, GREEN, INK, ORANGE, styled


@styled
def image_grid(
    images: UInt8[np.ndarray, "n h w 3"],
    captions: Sequence[str] | None = None,
    verdicts: Sequence[str] | None = None,
    *,
    columns: int = 8,
    side: int = 128,
    pictures: int = 1,
    title: str = "",
) -> Figure:
    """Draws images in rows with captions. Each pixel is a whole number of screen pixels.

    Args:
      images: at least one, each of one or more pictures side by side.
      captions: text below each image, of one or more lines.
      verdicts: "right", "wrong" or "" for each caption, which sets its colour.
      columns: number of images in a row.
      side: about this wide, in pixels, is each picture shown. Small ones are enlarged.
      pictures: number of pictures in an image.
      title: heading of the figure.

    Raises:
      ValueError: there are no images, or images, captions and verdicts differ in number.
    """
    total, height, width = images.shape[:3]
    captions = [""] * total if captions is None else captions
    verdicts = [""] * total if verdicts is None else verdicts
    if total < 1 or not total == len(captions) == len(verdicts):
        raise ValueError(f"{total} images, {len(captions)} captions, {len(verdicts)} verdicts")
    scale, gap, line = max(1, round(side * pictures / width)), 14, 13
    columns = min(columns, total)
    rows = math.ceil(total / columns)
    below = line * max(text.count("\n") + 1 if text else 0 for text in captions)
    step_x, step_y = width * scale + gap, height * scale + below + gap
    full_x, full_y = columns * step_x + gap, rows * step_y + gap + (2 * line if title else 0)
    figure = Figure(figsize=(full_x / DPI, full_y / DPI))
    figure.text(gap / full_x, 1 - gap / full_y, title, va="top", weight="bold", size=10)
    colour = {"right": GREEN, "wrong": ORANGE, "": INK}
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        left, bottom = gap + column * step_x, gap + (rows - 1 - row) * step_y + below
        # Axes would resample the image, and sixty of them take seconds.
        figure.figimage(image.repeat(scale, 0).repeat(scale, 1), left, bottom, origin="upper")
        figure.text(
            (left + width * scale / 2) / full_x,
            (bottom - 3) / full_y,
            captions[index],
            ha="center",
            va="top",
            size=8,
            linespacing=1.1,
            color=colour[verdicts[index]],
        )
    return figure
