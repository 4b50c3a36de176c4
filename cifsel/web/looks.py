"""How photos of a project look: thumbnails for the page, and which photos count as one."""

import collections
import dataclasses
import io
import threading
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from cifsel.data import copies
from cifsel.data.photos import decode, grouping
from cifsel.data.photos.labelled import Photos
from cifsel.errors import UserError
from cifsel.web.projects import Project, taken_by_camera

SIDE = 144  # pixels of a thumbnail
# Photos of the page's camera that follow each other so quickly are a burst.
BURST_SECONDS = 1.0
# The default of configs/selfie.py, for the times that other cameras note.
UPLOAD_BURST_SECONDS = 60.0
_MOST_KEPT = 20_000  # looks of 10 kB
_DECODERS = 2  # photos at the same time, as one may take 1.9 GB


@dataclasses.dataclass(frozen=True)
class Look:
    """A photo, as far as the page needs it.

    Attributes:
      thumbnail: a JPEG.
      grey: by which copies are found.
      taken: as `decoding.Photo.taken`.
    """

    thumbnail: bytes
    grey: UInt8[np.ndarray, "32 32"]
    taken: datetime | None


class Looks:
    """The looks of photos, made once."""

    def __init__(self) -> None:
        self._kept: collections.OrderedDict[tuple[Path, str], Look] = collections.OrderedDict()
        self._lock, self._decoders = threading.Lock(), threading.Semaphore(_DECODERS)

    def pixels(self, source: bytes | Path, name: str) -> UInt8[np.ndarray, "h w 3"]:
        """Decodes a photo. Raises UserError if it is none that can be used."""
        with self._decoders:
            return decode(source, name).pixels

    def check(self, content: bytes, name: str) -> Look:
        """The look of a photo that is not kept yet.

        Raises:
          UserError: it cannot be used.
        """
        with self._decoders:
            photo = decode(content, name)
        return Look(_thumbnail(photo.pixels), copies.thumbnail(photo.pixels), photo.taken)

    def add(self, path: Path, look: Look) -> None:
        """Keeps the look of a photo."""
        with self._lock:
            self._kept[_key(path)] = look
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)

    def of(self, path: Path) -> Look:
        """The look of a photo of a project. Raises UserError if it can no longer be read."""
        with self._lock:
            look = self._kept.get(_key(path))
        if look is None:
            look = self.check(_content(path), path.name)
            self.add(path, look)
        return look

    def groups(self, project: Project) -> dict[str, int]:
        """Numbers the groups of photos that count as one, as the run of task 2 groups them.

        Photos that can no longer be read are left out.

        Returns:
          The number of the group, by the name of the photo.
        """
        looks: dict[Path, Look] = {}
        for path in project.all_photos():
            try:
                looks[path] = self.of(path)
            except UserError:
                continue
        names = tuple(path.name for path in looks)
        # A thumbnail is its own thumbnail, so that it stands for its photo.
        images = tuple(np.repeat(look.grey[..., None], 3, axis=2) for look in looks.values())
        photos = Photos(
            images=images,
            labels=np.zeros(len(images), np.int32),
            names=names,
            class_names=(),
            taken=tuple(look.taken for look in looks.values()),
            skipped=(),
        )
        numbers = grouping.groups(photos, burst_seconds=UPLOAD_BURST_SECONDS, people=bursts(looks))
        return dict(zip(names, map(int, numbers), strict=True))


def bursts(photos: Iterable[Path]) -> dict[str, str]:
    """Names the bursts of the page's camera, as if each were a person of task 2.

    Returns:
      The name of the burst, by the name of the photo.
    """
    timed = sorted((time, path.name) for path in photos if (time := taken_by_camera(path)))
    named: dict[str, str] = {}
    for position, (time, name) in enumerate(timed):
        before, neighbour = timed[position - 1] if position else (None, "")
        follows = before and (time - before).total_seconds() <= BURST_SECONDS
        named[name] = named[neighbour] if follows else f"burst {position}"
    return named


def _key(path: Path) -> tuple[Path, str]:
    """The project and the name, so that a class can be renamed."""
    return path.parents[2], path.name


def _thumbnail(pixels: UInt8[np.ndarray, "h w 3"]) -> bytes:
    image = Image.fromarray(pixels)
    image.thumbnail((2 * SIDE, 2 * SIDE))
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    square = image.crop((left, top, left + short, top + short)).resize((SIDE, SIDE))
    buffer = io.BytesIO()
    square.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise UserError("this photo is gone: reload the page") from None
