"""Finds the largest face in a photo, and its eyes, nose and corners of the mouth."""

import dataclasses

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps

from cifsel.data.photos import mtcnn

# The photo is looked at with its shorter side at `_SIDE` pixels, and edges continued by `_BORDER`
# pixels, so that faces may fill the photo. A very long photo is shrunk further.
_SIDE, _LONGEST, _BORDER = 320, 1280, 64


@dataclasses.dataclass(frozen=True, eq=False)
class Face:
    """A face in a photo, in pixels of the photo.

    Attributes:
      box: left, top, width, height. It may go beyond the photo.
      points: x and y of the eye on the left, the eye on the right, the nose, the left and the right
        corner of the mouth, as seen in the photo.
      sure: the probability of a face.
    """

    box: tuple[float, float, float, float]
    points: Float[np.ndarray, "5 2"]
    sure: float


@dataclasses.dataclass(frozen=True)
class _Try:
    """A way to look for faces.

    Attributes:
      even: spread the levels of each colour, for photos that are much too dark.
      angle: degrees that the photo is turned by, for heads that are held askew.
      least: the least probability of a face.
    """

    even: bool
    angle: float
    least: float


# The first way that finds a face decides. The others ask for more, as each finds faces of its own
# where there are none.
_TRIES = (
    _Try(False, 0.0, 0.8),
    _Try(True, 0.0, 0.95),
    _Try(False, 40.0, 0.95),
    _Try(False, -40.0, 0.95),
)


def find_face(image: UInt8[np.ndarray, "h w 3"]) -> Face | None:
    """Finds the largest face in a photo. None if there is none.

    Raises:
      UserError: the package with the weights is not installed.
    """
    networks = mtcnn.load_networks()
    height, width = image.shape[:2]
    scale = min(_SIDE / min(height, width), _LONGEST / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    for attempt in _TRIES:
        levels = np.asarray(ImageOps.autocontrast(small, cutoff=1) if attempt.even else small)
        framed = np.pad(levels, ((_BORDER, _BORDER), (_BORDER, _BORDER), (0, 0)), "edge")
        turned = Image.fromarray(framed).rotate(attempt.angle, Image.Resampling.BILINEAR)
        boxes, points, sure = networks.detect(np.asarray(turned))
        sizes = np.sqrt(mtcnn.areas(boxes)) * sure * (sure >= attempt.least)
        if not len(boxes) or sizes.max() <= 0:
            continue
        best = int(sizes.argmax())
        middle = np.array(turned.size) / 2
        back = (_turned(points[best], middle, attempt.angle) - _BORDER) / scale
        sides = (boxes[best, 2:] - boxes[best, :2]) / scale
        centre = _turned((boxes[best, 2:] + boxes[best, :2])[None] / 2, middle, attempt.angle)[0]
        left, top = (centre - _BORDER) / scale - sides / 2
        box = (float(left), float(top), float(sides[0]), float(sides[1]))
        return Face(box, back, float(sure[best]))
    return None


def _turned(
    points: Float[np.ndarray, "n 2"], middle: Float[np.ndarray, " 2"], angle: float
) -> Float[np.ndarray, "n 2"]:
    """Turns points of a turned image back. Pillow turns anticlockwise, and y points down."""
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return (points.astype(np.float64) - middle) @ np.array([(cos, sin), (-sin, cos)]) + middle
