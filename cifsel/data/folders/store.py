"""Stores decoded images as squares of one size, so that photos are decoded once for all runs.

A store is a folder in the cache of the user: the pixels of all images in one file, and an index
with a SHA-256 of each image. It is complete or not there. What is read from it is checked against
the index, and a damaged store is made again.
"""

import collections
import concurrent.futures
import dataclasses
import hashlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock
from jaxtyping import Bool, Int, UInt8
from jaxtyping import Shaped as Str

from cifsel.data import copies
from cifsel.data.images_on_disk import ImagesOnDisk
from cifsel.data.photos.crops import centre, padded
from cifsel.errors import MAKE_ROOM, UserError, one_line
from cifsel.runtime import cache, zips
from cifsel.runtime.bars import image_bar
from cifsel.runtime.terminal import warn

# Raised whenever the files of a store change their meaning.
_FORMAT = 1
_PIXELS, _INDEX = "pixels.u8", "index.npz"
_MAX_INDEX_BYTES = 2**32
# How an image becomes a square: its middle, or all of it with grey on two sides.
SQUARES = {"crop": centre, "pad": padded}
# An image with so few colours, mostly one, is a drawing such as "image not found".
_FEW_COLOURS, _MOST_OF_ONE = 64, 0.6


# Decodes an image: its pixels, and when it was taken ('' or ISO 8601). Raises UserError.
Read = Callable[[], tuple[UInt8[np.ndarray, "h w 3"], str]]


@dataclasses.dataclass(frozen=True)
class Item:
    """An image that is to be stored.

    Attributes:
      name: its path within the source, printable and distinct.
      label: the name of its class.
      split: 'train', 'val' or 'test'. Empty if the source does not say.
      group: images of a group must be on one side of a split. Empty for a group of its own.
      read: decodes it.
    """

    name: str
    label: str
    split: str
    group: str
    read: Read


@dataclasses.dataclass(frozen=True)
class Collection:
    """The images of a source.

    Attributes:
      count: how many there are.
      items: the images, in a fixed order.
      side: the length of the shorter side, where all have the same size and shape. Else None.
    """

    count: int
    items: Iterable[Item]
    side: int | None = None


@dataclasses.dataclass(frozen=True)
class Store:
    """N stored images. Those with a problem are black and must not be used.

    Attributes:
      images: squares of one size, on disk.
      names: as `Item.name`.
      labels: as `Item.label`.
      splits: as `Item.split`.
      groups: as `Item.group`.
      digests: the SHA-256 of the pixels of each image.
      thumbnails: as `copies.thumbnail` makes them.
      taken: the time of each photo in ISO 8601, '' if it is not known.
      problems: why an image cannot be used, '' if it can.
      is_drawing: whether an image has few colours and is mostly of one.
    """

    images: ImagesOnDisk
    names: Str[np.ndarray, " n"]
    labels: Str[np.ndarray, " n"]
    splits: Str[np.ndarray, " n"]
    groups: Str[np.ndarray, " n"]
    digests: UInt8[np.ndarray, "n 32"]
    thumbnails: UInt8[np.ndarray, "n 32 32"]
    taken: Str[np.ndarray, " n"]
    problems: Str[np.ndarray, " n"]
    is_drawing: Bool[np.ndarray, " n"]

    def at(self, positions: Int[np.ndarray, " m"]) -> "Store":
        """Returns the images at these positions, in this order."""
        arrays = {
            field.name: getattr(self, field.name)[positions]
            for field in dataclasses.fields(self)
            if field.name != "images"
        }
        return Store(self.images.at(positions), **arrays)


def load(key: Iterable[str], collect: Callable[[], Collection], side: int, fit: str) -> Store:
    """Opens the store of a collection, and makes it first if there is none.

    Args:
      key: texts that change whenever an image, its name or its label does.
      collect: lists the images. It is called only if there is no store.
      side: of the stored squares, in pixels. Images that are all smaller keep their size.
      fit: a key of `SQUARES`.

    Raises:
      UserError: the store cannot be written, or what `collect` raises.
    """
    digest = hashlib.sha256("\n".join([str(_FORMAT), str(side), fit, *key]).encode())
    folder = cache.folder() / "images" / digest.hexdigest()[:16]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Two runs that start together make it once.
        with FileLock(folder.with_suffix(".lock")):
            if folder.is_dir():
                try:
                    return _opened(folder)
                except (OSError, ValueError) as error:
                    warn(f"{folder} is damaged ({one_line(error)}): decoding the images again")
                    shutil.rmtree(folder)
            _make(folder, collect(), side, fit)
            return _opened(folder)
    except OSError as error:
        raise UserError(
            f"images cannot be stored in {folder.parent} ({error.strerror or one_line(error)}):"
            f" {MAKE_ROOM}, or set CIFSEL_CACHE to another folder"
        ) from error


def _make(folder: Path, collection: Collection, side: int, fit: str) -> None:
    """Decodes all images into a folder that is renamed when it is complete."""
    side = min(side, collection.side or side)
    rows = []
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as name:
        making = Path(name) / "complete"
        making.mkdir()
        with (making / _PIXELS).open("wb") as file, image_bar("decoding") as bar:
            task = bar.add_task("decoding", total=collection.count)
            for row, pixels in _decoded(collection.items, side, fit):
                rows.append(row)
                file.write(pixels.data)
                bar.update(task, completed=len(rows))
        columns = {
            field.name: np.array([getattr(row, field.name) for row in rows])
            for field in dataclasses.fields(_Row)
        }
        # NumPy's stub takes one of the arrays for the option `allow_pickle`.
        np.savez(making / _INDEX, side=np.array(side), **columns)  # type: ignore[arg-type]
        making.replace(folder)


@dataclasses.dataclass(frozen=True)
class _Row:
    """An image in the index. The fields are those of `Store`, in the singular."""

    names: str
    labels: str
    splits: str
    groups: str
    digests: np.ndarray
    thumbnails: np.ndarray
    taken: str
    problems: str
    is_drawing: bool


def _decoded(items: Iterable[Item], side: int, fit: str) -> Iterator[tuple[_Row, np.ndarray]]:
    """Decodes in threads, in order. Pillow lets other threads run while it decodes."""
    workers = min(os.cpu_count() or 1, 16)
    remaining = iter(items)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        # Only a window of them is decoded ahead, so that memory stays small.
        window = itertools.islice(remaining, 4 * workers)
        waiting = collections.deque(pool.submit(_decode, item, side, fit) for item in window)
        while waiting:
            yield waiting.popleft().result()
            for item in itertools.islice(remaining, 1):
                waiting.append(pool.submit(_decode, item, side, fit))


def _decode(item: Item, side: int, fit: str) -> tuple[_Row, np.ndarray]:
    taken = problem = ""
    thumbnail, is_drawing = np.zeros((32, 32), np.uint8), False
    try:
        pixels, taken = item.read()
        thumbnail, is_drawing = copies.thumbnail(pixels), _is_drawing(pixels)
        pixels = np.ascontiguousarray(SQUARES[fit](pixels, side))
    except UserError as error:
        problem, pixels = str(error), np.zeros((side, side, 3), np.uint8)
    row = _Row(
        item.name, item.label, item.split, item.group, _digest(pixels), thumbnail, taken, problem,
        is_drawing,
    )  # fmt: skip
    return row, pixels


def _is_drawing(pixels: UInt8[np.ndarray, "h w 3"]) -> bool:
    few = pixels[::4, ::4].reshape(-1, 3).astype(np.int32)
    _, counts = np.unique(few @ np.array([65536, 256, 1], np.int32), return_counts=True)
    return len(counts) <= _FEW_COLOURS and counts.max() >= _MOST_OF_ONE * counts.sum()


def _digest(pixels: np.ndarray) -> UInt8[np.ndarray, " 32"]:
    return np.frombuffer(hashlib.sha256(pixels.data).digest(), np.uint8)


def _opened(folder: Path) -> Store:
    """Opens a store and checks all of its images. Raises OSError or ValueError for damage."""
    index = zips.read_arrays(folder / _INDEX, _MAX_INDEX_BYTES)
    side = int(index.pop("side"))
    images = ImagesOnDisk.open(folder / _PIXELS, len(index["digests"]), side)
    store = Store(images, **index)

    def is_whole(i: int) -> bool:
        return bool((_digest(images[i]) == store.digests[i]).all())

    # SHA-256 lets other threads run.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        if not all(pool.map(is_whole, range(len(images)), chunksize=64)):
            raise ValueError("an image differs from its checksum")
    return store
