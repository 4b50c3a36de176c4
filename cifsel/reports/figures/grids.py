"""Grids of images with captions."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from cifsel.reports.style import DPI, GREEN, INK, ORANGE, display_name, percent, styled


def prediction_captions(
    true_names: Sequence[str], predicted_names: Sequence[str], probabilities: Sequence[float]
) -> tuple[list[str], list[str]]:
    """Captions for `image_grid`: the truth, and below it what the model says and how sure it is.

    Args:
      true_names: N names.
      predicted_names: N names.
      probabilities: N probabilities of the predicted class, 0..1.

    Returns:
      N captions, and N verdicts, "right" or "wrong".
    """
    captions, verdicts = [], []
    for true, predicted, share in zip(true_names, predicted_names, probabilities, strict=True):
        right = true == predicted
        said = f"✓ {percent(share)}" if right else f"✗ {display_name(predicted)} {percent(share)}"
        captions.append(f"{display_name(true)}\n{said}")
        verdicts.append("right" if right else "wrong")
    return captions, verdicts


@styled
def image_grid(
    images: np.ndarray,
    captions: Sequence[str] | None = None,
    verdicts: Sequence[str] | None = None,
    *,
    columns: int = 8,
    title: str = "",
) -> Figure:
    """Images in rows, each pixel a whole number of screen pixels, with a caption below each.

    Args:
      images: (N, H, W, 3) uint8, N >= 1; small ones are enlarged to about 128 pixels.
      captions: N texts, of one or more lines.
      verdicts: "right" or "wrong" for each caption, which colours it.
      columns: Images in a row.
      title: Above everything.

    Raises:
      ValueError: There is nothing to show, or images, captions and verdicts differ in number.
    """
    total, height, width = images.shape[:3]
    captions = [""] * total if captions is None else captions
    verdicts = [""] * total if verdicts is None else verdicts
    if total < 1 or not total == len(captions) == len(verdicts):
        raise ValueError(f"{total} images, {len(captions)} captions, {len(verdicts)} verdicts")
    scale, gap, line = max(1, round(128 / width)), 14, 13
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
        # Not through axes: those would resample, and sixty of them take seconds.
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
