"""Crops photos of any size to square images: the middle, the face, or the lower part of a face."""

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from cifsel.data.photos import expression, landmarks
from cifsel.errors import UserError
from cifsel.runtime.terminal import count

_GREY = (128, 128, 128)
NONE, FACE, EXPRESSION = CROPS = ("none", "face", "expression")
# A crop of less than the detected face, or of much more, is a mistake.
MIN_MARGIN, MAX_MARGIN = 0.5, 4.0

# Share of the middle square's side. A smaller crop shows next to nothing of a photo.
MIN_MIDDLE = 0.25

# The detector sees the photo with its shorter side at _SIDE pixels. _BORDER more pixels continue
# the edges. Without them a face that fills the photo is often missed: 20 of the 24 faces below,
# with an eighth of the photo cut off on each side, but 1 with them. The square is also smaller
# then.
_SIDE, _BORDER = 320, 48
# The factor from one size of face to the next, and how many detections near each other are a face.
_STEP, _NEIGHBOURS = 1.05, 5
# The largest face is taken. Among faces of more than this share of its side, it is the surest one.
_NEAR = 0.8

# left, top, width, height in pixels
Box = tuple[int, int, int, int]
# left, top, side in pixels, and how sure the detector is
_Detection = tuple[float, float, float, float]
# A function of a grey image and the least side of a face. It returns the faces.
_Detector = Callable[[UInt8[np.ndarray, "h w"], int], list[_Detection]]


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


# The first way that finds a face decides. They were tried on 24 real faces, pasted into photos of
# other things. The first way found 23 or all of them unchanged, 10 turned by 20 degrees, and none
# at 8 % of the light. With the others it is 22 turned, and 22 in the dark. More angles mostly gave
# detections that are no faces.
_TRIES = (_Try(False, (0.0,), 0.15), _Try(True, (0.0,), 0.15), _Try(False, (20.0, -20.0), 0.25))


@dataclasses.dataclass
class Shown:
    """Photos as a model sees them.

    Attributes:
      images: the squares.
      faces: the face detected in each photo, (left, top, width, height) in its pixels and within
        it. None if no face was detected or looked for.
    """

    images: UInt8[np.ndarray, "n size size 3"]
    faces: tuple[Box | None, ...]


@dataclasses.dataclass(frozen=True)
class Cropper:
    """The way to cut photos to squares.

    Attributes:
      kind: 'none' for the middle of each photo, 'face' for a square around the face, or
        'expression' for the lower part of the face, grey, upright and always in the same place.
      margin: side of the crop, as a multiple of the detected face's. The photo's sides limit it.
      fallback: take the middle of photos in which no face is found, and do not stop at them.
      whole: show all of a photo, with grey beside it, where its middle would be shown.
      middle: side of the middle that is shown, as a share of the photo's shorter side.
    """

    kind: str
    margin: float = 1.2
    fallback: bool = False
    whole: bool = False
    middle: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in CROPS:
            raise UserError(f"crop is {self.kind!r}; expected one of {', '.join(CROPS)}")
        if not MIN_MARGIN <= self.margin <= MAX_MARGIN:
            raise UserError(
                f"crop_margin is {self.margin}: give {MIN_MARGIN:g} to {MAX_MARGIN:g} times the "
                "side of the face"
            )
        if not MIN_MIDDLE <= self.middle <= 1:
            raise UserError(
                f"crop_middle is {self.middle}: give {MIN_MIDDLE:g} to 1 times the shorter side of"
                " the photo"
            )

    def show(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], names: Sequence[str], size: int
    ) -> Shown:
        """Cuts photos to squares and resizes them.

        Args:
          images: photos of any sizes.
          names: of the photos, for messages.
          size: side of the results in pixels.

        Raises:
          UserError: what finds faces is not installed, or no face is found in some photos and
            `fallback` is False.
        """
        faces: list[Box | None] = [None] * len(images)
        marked: list[landmarks.Face | None] = [None] * len(images)
        if self.kind == FACE:
            detect = _detector()
            faces = [_face(image, detect) for image in images]
        elif self.kind == EXPRESSION:
            marked = [landmarks.find_face(image) for image in images]
            faces = [
                None if face is None else _within(image, *(round(edge) for edge in face.box))
                for image, face in zip(images, marked, strict=True)
            ]
        lost = [name for name, face in zip(names, faces, strict=True) if face is None]
        if lost and self.kind != NONE and not self.fallback:
            more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
            raise UserError(
                f"no face found in {len(lost)} of {count(len(names), 'photo')}"
                f" ({', '.join(lost[:3])}{more}): leave them out, or give"
                " --config.crop_fallback=True to use the middle of the photo instead"
            )
        squares = np.empty((len(images), size, size, 3), np.uint8)
        for square, image, face, points in zip(squares, images, faces, marked, strict=True):
            if face is None:
                square[:] = padded(image, size) if self.whole else centre(image, size, self.middle)
            elif points is None:
                square[:] = self._around(image, face, size)
            else:
                square[:] = expression.lower_face(image, points.points, size)
        return Shown(squares, tuple(faces))

    def _around(
        self, image: UInt8[np.ndarray, "h w 3"], face: Box, size: int
    ) -> UInt8[np.ndarray, "{size} {size} 3"]:
        """Returns the square around a face, moved into the photo if it would stick out."""
        left, top, width, height = face
        shape = np.array(image.shape[:2])
        side = max(1, min(round(self.margin * max(width, height)), *shape))
        middle = np.array([top + height / 2, left + width / 2])
        corner = np.clip(np.round(middle - side / 2).astype(int), 0, shape - side)
        return _square(image, int(corner[1]), int(corner[0]), side, size)


def centre(
    image: UInt8[np.ndarray, "h w 3"], size: int, share: float = 1.0
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """Returns the square in the middle of an image, resized to `size` pixels a side.

    Args:
      image: an image of any size.
      size: side of the result in pixels.
      share: side of the square, as a share of the image's shorter side.
    """
    height, width = image.shape[:2]
    side = max(1, round(share * min(height, width)))
    return _square(image, (width - side) // 2, (height - side) // 2, side, size)


def padded(image: UInt8[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """Returns the whole image, scaled until it fits into a grey square of `size` pixels."""
    scale = size / max(image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    square = Image.new("RGB", (size, size), _GREY)
    square.paste(resized, ((size - width) // 2, (size - height) // 2))
    return np.asarray(square)


def _square(
    image: UInt8[np.ndarray, "h w 3"], left: int, top: int, side: int, size: int
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    part = Image.fromarray(np.ascontiguousarray(image[top : top + side, left : left + side]))
    # Pillow widens the filter as it shrinks, so that no pixel is skipped. Lanczos keeps more
    # detail, but overshoots at edges if it enlarges.
    how = Image.Resampling.LANCZOS if side > size else Image.Resampling.BICUBIC
    return np.asarray(part.resize((size, size), how))


def _face(image: UInt8[np.ndarray, "h w 3"], detect: _Detector) -> Box | None:
    """Returns the largest face in an image."""
    height, width = image.shape[:2]
    scale = _SIDE / min(height, width)
    small = Image.fromarray(image).convert("L")
    small = small.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
    for attempt in _TRIES:
        pixels = np.asarray(ImageOps.equalize(small) if attempt.equalize else small)
        framed = np.pad(pixels, _BORDER, "edge")
        faces = [
            face
            for angle in attempt.angles
            for face in _at_angle(framed, angle, attempt.least, detect)
        ]
        if faces:
            largest = max(side for _, _, side, _ in faces)
            candidates = [face for face in faces if face[2] >= _NEAR * largest]
            # The rest of the key only makes the choice independent of the order.
            left, top, side, _ = max(candidates, key=lambda face: (face[3], face[2], face))
            side = round(side / scale)
            return _within(image, round(left / scale), round(top / scale), side, side)
    return None


def _at_angle(
    framed: UInt8[np.ndarray, "h w"], angle: float, least: float, detect: _Detector
) -> list[_Detection]:
    """Detects faces in a framed image after a turn, and returns them without frame and turn."""
    turned = framed
    if angle:
        turned = np.asarray(Image.fromarray(framed).rotate(angle, Image.Resampling.BILINEAR))
    middle = np.array(framed.shape[::-1]) / 2
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    faces = []
    for left, top, side, sure in detect(turned, round(least * _SIDE)):
        x, y = np.array([left + side / 2, top + side / 2]) - middle
        # Pillow turns anticlockwise. This turns back, with y downwards.
        x, y = np.array([cos * x - sin * y, sin * x + cos * y]) + middle - _BORDER - side / 2
        faces.append((float(x), float(y), side, sure))
    return faces


def _within(
    image: UInt8[np.ndarray, "h w 3"], left: int, top: int, width: int, height: int
) -> Box | None:
    """Returns the part of a box that is in the image, if any."""
    right, bottom = min(left + width, image.shape[1]), min(top + height, image.shape[0])
    left, top = max(left, 0), max(top, 0)
    return (left, top, right - left, bottom - top) if left < right and top < bottom else None


def _detector() -> _Detector:
    """Loads OpenCV's detector of upright frontal faces, which comes with the package."""
    try:
        # Its type stubs lack what is used here.
        cv2: Any = importlib.import_module("cv2")
        # Of OpenCV's own cascades, this one missed none of the 24 faces, unlike 'default'.
        path = Path(cv2.data.haarcascades) / "haarcascade_frontalface_alt2.xml"
        cascade = cv2.CascadeClassifier(str(path))
        # The file may be missing, and OpenCV 5 has no cascades.
        if cascade.empty():
            raise AttributeError(f"{path} cannot be read")
    except (ImportError, AttributeError) as error:
        raise UserError("crop='face' needs OpenCV 4: pip install 'cifsel[face]'") from error

    def detect(grey: UInt8[np.ndarray, "h w"], least: int) -> list[_Detection]:
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
