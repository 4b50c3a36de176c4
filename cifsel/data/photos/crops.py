"""Photos of any size as the square images that a model looks at, cut to the face if wanted."""

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from cifsel.errors import UserError

CROPS = ("none", "face")
# A crop of less than the detected face, or of much more, is a slip of the hand.
MIN_MARGIN, MAX_MARGIN = 0.5, 4.0

# Faces are looked for with the shorter side at this many pixels, however large the photo is, and
# with its edge continued by so many. Without that, a face that fills the photo is often missed (20
# of the 24 below, with an eighth of the photo cut off on each side; 1 with it), and the square is
# smaller the closer the face is to the edge.
_SIDE, _BORDER = 320, 48
# From one size of face to the next, and how often a face must be found, a little moved or scaled.
_STEP, _NEIGHBOURS = 1.05, 5
# The largest face is meant, but of sizes that differ by less than this, the one found surest.
_NEAR = 0.8

# left, top, width, height in pixels
Box = tuple[int, int, int, int]
# A grey image (h, w) uint8 and the least side of a face -> for each face found its left, top, side
# and how sure the detector is of it.
_Detector = Callable[[np.ndarray, int], list[tuple[float, float, float, float]]]


@dataclasses.dataclass(frozen=True)
class _Try:
    """A way to look for faces.

    Attributes:
      equalize: spread the grey levels evenly, for photos that are much too dark or bright.
      angles: degrees that the photo is turned by, for heads that are held askew.
      least: side of the smallest face, as a part of the photo's shorter side.
    """

    equalize: bool
    angles: tuple[float, ...]
    least: float


# The first that finds a face decides. Of 24 real faces that were pasted into photos of other
# things, the first found 23 or all as they were, 10 turned by 20 degrees and none at 8 % of the
# light; with the others it is 22 of either. More angles mostly found what is no face.
_TRIES = (_Try(False, (0.0,), 0.15), _Try(True, (0.0,), 0.15), _Try(False, (20.0, -20.0), 0.25))


@dataclasses.dataclass
class Shown:
    """Photos as a model sees them.

    Attributes:
      images: (N, size, size, 3) uint8.
      faces: the face found in each photo, (left, top, width, height) in its pixels and within it;
        None where none was found or looked for.
    """

    images: np.ndarray
    faces: tuple[Box | None, ...]


@dataclasses.dataclass(frozen=True)
class Cropper:
    """How photos are cut to squares.

    Attributes:
      kind: 'none' for the middle of each photo, or 'face'.
      margin: side of the crop, as a multiple of the detected face's. It is less where the photo
        has no more to give.
      fallback: take the middle of photos in which no face is found, rather than stop.
    """

    kind: str
    margin: float = 1.2
    fallback: bool = False

    def __post_init__(self) -> None:
        if self.kind not in CROPS:
            raise UserError(f"crop is {self.kind!r}; expected one of {', '.join(CROPS)}")
        if not MIN_MARGIN <= self.margin <= MAX_MARGIN:
            raise UserError(
                f"crop_margin is {self.margin}: give {MIN_MARGIN:g} to {MAX_MARGIN:g} times the "
                "side of the face"
            )

    def show(self, images: Sequence[np.ndarray], names: Sequence[str], size: int) -> Shown:
        """Cuts photos to squares and resizes them.

        Args:
          images: (H, W, 3) uint8 each, of any sizes.
          names: of the photos, for messages.
          size: side of the results in pixels.

        Raises:
          UserError: `kind` is 'face', and OpenCV 4 is not installed, or there are photos in which
            no face is found and there is no `fallback`.
        """
        faces: list[Box | None] = [None] * len(images)
        if self.kind == "face":
            detect = _detector()
            faces = [_face(image, detect) for image in images]
        lost = [name for name, face in zip(names, faces, strict=True) if face is None]
        if lost and self.kind == "face" and not self.fallback:
            more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
            raise UserError(
                f"no face found in {len(lost)} of {len(names)} photos ({', '.join(lost[:3])}"
                f"{more}): leave them out, or give --config.crop_fallback=True to use the middle "
                "of the photo instead"
            )
        squares = np.empty((len(images), size, size, 3), np.uint8)
        for square, image, face in zip(squares, images, faces, strict=True):
            square[:] = centre(image, size) if face is None else self._around(image, face, size)
        return Shown(squares, tuple(faces))

    def _around(self, image: np.ndarray, face: Box, size: int) -> np.ndarray:
        """The square around a face, moved into the photo where it would stick out of it."""
        left, top, width, height = face
        shape = np.array(image.shape[:2])
        side = max(1, min(round(self.margin * max(width, height)), *shape))
        middle = np.array([top + height / 2, left + width / 2])
        corner = np.clip(np.round(middle - side / 2).astype(int), 0, shape - side)
        return _square(image, int(corner[1]), int(corner[0]), side, size)


def centre(image: np.ndarray, size: int) -> np.ndarray:
    """The largest square in the middle of an image.

    Args:
      image: (H, W, 3) uint8.
      size: side of the result in pixels.

    Returns:
      (size, size, 3) uint8.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    return _square(image, (width - side) // 2, (height - side) // 2, side, size)


def _square(image: np.ndarray, left: int, top: int, side: int, size: int) -> np.ndarray:
    part = Image.fromarray(np.ascontiguousarray(image[top : top + side, left : left + side]))
    # Pillow widens the filter as it shrinks, so that nothing is skipped. Lanczos keeps more detail,
    # and would ring where pixels are made up.
    how = Image.Resampling.LANCZOS if side > size else Image.Resampling.BICUBIC
    return np.asarray(part.resize((size, size), how))


def _face(image: np.ndarray, detect: _Detector) -> Box | None:
    """The largest face in an image (H, W, 3) uint8."""
    height, width = image.shape[:2]
    scale = _SIDE / min(height, width)
    small = Image.fromarray(image).convert("L")
    small = small.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
    for attempt in _TRIES:
        pixels = np.asarray(ImageOps.equalize(small) if attempt.equalize else small)
        framed = np.pad(pixels, _BORDER, "edge")
        found = [
            (*corner, side, sure)
            for angle in attempt.angles
            for *corner, side, sure in _at_angle(framed, angle, attempt.least, detect)
        ]
        if found:
            largest = max(side for _, _, side, _ in found)
            candidates = [one for one in found if one[2] >= _NEAR * largest]
            # The rest of the key only makes the choice independent of the order.
            left, top, side, _ = max(candidates, key=lambda one: (one[3], one[2], one))
            return _within(image, round(left / scale), round(top / scale), round(side / scale))
    return None


def _at_angle(
    framed: np.ndarray, angle: float, least: float, detect: _Detector
) -> list[tuple[float, float, float, float]]:
    """Faces in a framed image that is turned by an angle, in coordinates without frame and turn."""
    turned = framed
    if angle:
        turned = np.asarray(Image.fromarray(framed).rotate(angle, Image.Resampling.BILINEAR))
    middle = np.array(framed.shape[::-1]) / 2
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    found = []
    for left, top, side, sure in detect(turned, round(least * _SIDE)):
        x, y = np.array([left + side / 2, top + side / 2]) - middle
        # Pillow turns against the clock; this turns back, with y downwards.
        x, y = np.array([cos * x - sin * y, sin * x + cos * y]) + middle - _BORDER - side / 2
        found.append((float(x), float(y), side, sure))
    return found


def _within(image: np.ndarray, left: int, top: int, side: int) -> Box | None:
    """The part of a square that is in the image, if any."""
    right, bottom = min(left + side, image.shape[1]), min(top + side, image.shape[0])
    left, top = max(left, 0), max(top, 0)
    return (left, top, right - left, bottom - top) if left < right and top < bottom else None


def _detector() -> _Detector:
    """OpenCV's detector of upright frontal faces, which comes with the package."""
    try:
        # Its type stubs lack what is used here.
        cv2: Any = importlib.import_module("cv2")
        # Of the cascades that come with OpenCV, this one missed no face of the 24; 'default' did.
        path = Path(cv2.data.haarcascades) / "haarcascade_frontalface_alt2.xml"
        cascade = cv2.CascadeClassifier(str(path))
        # Without the file, or with OpenCV 5, that has no cascades, there is nothing to look with.
        if cascade.empty():
            raise AttributeError(f"{path} cannot be read")
    except (ImportError, AttributeError) as error:
        raise UserError("crop='face' needs OpenCV 4: pip install 'cifsel[face]'") from error

    def detect(grey: np.ndarray, least: int) -> list[tuple[float, float, float, float]]:
        boxes, _, weights = cascade.detectMultiScale3(
            grey,
            scaleFactor=_STEP,
            minNeighbors=_NEIGHBOURS,
            minSize=(least, least),
            outputRejectLevels=True,
        )
        return [
            (float(left), float(top), float(side), float(sure))
            for (left, top, side, _), sure in zip(boxes, np.ravel(weights), strict=True)
        ]

    return detect
