"""Description of the preprocessing of images, as plain data that other programs can read."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from cifsel.errors import UserError
from cifsel.evaluation.features import View
from cifsel.models.classifier import preprocess


def describe(name: str, view: View, side: int) -> dict[str, Any]:
    """Describes it, JSON-ready.

    Args:
      name: one of `classifier.MODELS`.
      view: how images are shown to the network.
      side: of the square that is cut out of a photo, in pixels.

    Returns:
      `side`. `image_size`, the side to which the square is resized, and `resize`, the method.
      `mirror`: outputs are averaged over the square and its mirror image. `mean` and `std` of red,
      green and blue in 0..255: the network takes (pixels - mean) / std.
    """
    ends = np.zeros((2, 1, 1, 3), np.float32)
    ends[1] = 255
    # One program compiles sooner than one for each operation.
    scaled = jax.jit(preprocess, static_argnames="name")(ends, name)
    black, white = np.asarray(scaled, np.float64)[:, 0, 0]
    std = 255 / (white - black)
    return {
        "side": side,
        "image_size": view.image_size,
        "resize": view.resize,
        "mirror": view.mirror,
        "mean": np.round(-black * std, 3).tolist(),
        "std": np.round(std, 3).tolist(),
    }


def check(given: Mapping[str, Any], own: Mapping[str, Any], path: str) -> None:
    """Makes sure that a file wants images as this version of cifsel shows them.

    Args:
      given: of the file.
      own: of `describe`.
      path: of the file, for messages.

    Raises:
      UserError: it wants them otherwise.
    """
    for name, value in own.items():
        if not _same(given.get(name), value):
            raise UserError(
                f"{path} has preprocessing.{name} {given.get(name)!r:.60}; expected {value!r}, as"
                " this version of cifsel prepares images: use the version that wrote it"
            )


def _same(given: Any, own: Any) -> bool:
    if not isinstance(own, list):
        return type(given) is type(own) and bool(given == own)
    if not isinstance(given, list) or len(given) != len(own):
        return False
    # Rounding may differ a little from machine to machine.
    return all(
        type(a) in (int, float) and abs(a - b) < 0.01 for a, b in zip(given, own, strict=True)
    )
