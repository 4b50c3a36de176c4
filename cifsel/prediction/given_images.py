"""Images as Python has them: paths, images of Pillow, and arrays, to the pixels of photos."""

import collections
import dataclasses
import os
import threading
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from etils import epath
from jaxtyping import UInt8
from PIL import Image

from cifsel.data.photos import files
from cifsel.data.photos.decoding import decode, pixels_of
from cifsel.errors import UserError, one_line, printable
from cifsel.runtime import remote
from cifsel.runtime.paths import is_folder

# A path, or an array of NumPy, or of a library whose arrays NumPy can read.
ImageLike: TypeAlias = str | os.PathLike[str] | Image.Image | np.ndarray | Any

_EXPECTED = (
    "expected uint8, or floats from 0 to 1, of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)"
)
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclasses.dataclass(frozen=True)
class GivenImage:
    """An image to answer for.

    Attributes:
      photo: the path, or 'image 3' for an image in memory.
      name: the same for messages, with the place.
      image: a path, an image of Pillow, or an array that has been checked.
      lock: held while `image` is read, which may be given several times. Pillow reads a file for
        one thread only.
    """

    photo: str
    name: str
    image: ImageLike
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock, compare=False)

    def pixels(self) -> UInt8[np.ndarray, "h w 3"]:
        """The pixels, sRGB and upright, with no side longer than `decoding.MAX_SIDE`.

        An array is taken for sRGB. Transparent pixels become white.

        Raises:
          UserError: the file cannot be read, or the image is very small or very long.
        """
        if isinstance(self.image, np.ndarray):
            return self._of_image(_as_image(self.image))
        if isinstance(self.image, Image.Image):
            with self.lock:
                return self._of_image(self.image)
        path = remote.path(self.image)
        if is_folder(path):
            raise UserError(f"{self.name}: a folder; expected the path of one image")
        missing = remote.is_remote(path) and not epath.Path(path).exists()
        file = files.File(self.name, path, problem="no such file" if missing else "")
        return decode(files.content(file), self.name).pixels

    def _of_image(self, image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
        try:
            return pixels_of(image)
        except UserError as error:
            raise UserError(f"{self.name}: {error}") from error
        except Exception as error:  # Pillow's parsers raise many kinds of exceptions for damage.
            raise UserError(f"{self.name}: damaged or cut short ({one_line(error)})") from error


def given_images(images: ImageLike | Iterable[ImageLike]) -> list[GivenImage]:
    """Lists images, and checks those that are arrays.

    Args:
      images: one image, or several: paths, images of Pillow, and arrays (H, W), (H, W, 1),
        (H, W, 3) or (H, W, 4), uint8 or floats from 0 to 1. One array (N, H, W, C) is N images.

    Raises:
      UserError: something is none of these. The message says at which place, and what it is.
    """
    if _is_one(images):
        images = [images]
    elif not isinstance(images, Iterable):
        raise _refused(0, images)
    locks: dict[int, threading.Lock] = collections.defaultdict(threading.Lock)
    given = [_checked(place, image) for place, image in enumerate(images)]
    return [dataclasses.replace(image, lock=locks[id(image.image)]) for image in given]


def _is_one(images: Any) -> bool:
    if isinstance(images, str | os.PathLike | Image.Image):
        return True
    return hasattr(images, "__array__") and np.ndim(images) != 4


def _checked(place: int, image: Any) -> GivenImage:
    if isinstance(image, str | os.PathLike):
        path = os.fspath(image)
        return GivenImage(path, f"image {place}, {printable(path)}", path)
    name = f"image {place}"
    if isinstance(image, Image.Image):
        return GivenImage(name, name, image)
    if not hasattr(image, "__array__"):
        raise _refused(place, image)
    try:
        array = np.asarray(image)
    except Exception:  # Of other libraries, such as for a tensor that is on a GPU.
        raise _refused(place, image) from None
    _check(place, array)
    return GivenImage(name, name, array)


def _refused(place: int, image: Any) -> UserError:
    return UserError(
        f"image {place} is of type {type(image).__name__}; expected a path, an image of Pillow or"
        " an array"
    )


def _check(place: int, array: np.ndarray) -> None:
    """Raises UserError unless this array is an image."""
    is_float = np.issubdtype(array.dtype, np.floating)
    has_shape = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in _MODES)
    numbers = array if array.size and array.dtype.kind in "uif" else np.full(1, np.nan)
    low, high = numbers.min(), numbers.max()
    # NaN compares as False.
    if has_shape and (array.dtype == np.uint8 or (is_float and low >= 0 and high <= 1)):
        return
    hint = ""
    if not has_shape and array.ndim == 3 and array.shape[0] in _MODES:
        hint = ": move its channels to the end"
    elif is_float and low >= 0 and high <= 255:
        hint = ": divide it by 255"
    raise UserError(
        f"image {place} is an array of shape {array.shape}, {array.dtype}, from {low:g} to"
        f" {high:g}; {_EXPECTED}{hint}"
    )


def _as_image(array: np.ndarray) -> Image.Image:
    """An image of Pillow with the values of an array that `_check` let pass."""
    if array.dtype != np.uint8:
        array = np.round(array.astype(np.float32) * 255).astype(np.uint8)
    plain = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    return Image.fromarray(np.ascontiguousarray(plain))
