"""Reads labelled photos from folders and zips: each folder or zip is a class."""

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Mapping
from datetime import datetime

import numpy as np
from jaxtyping import Int32, UInt8

from cifsel.data.photos.decoding import Photo, decode
from cifsel.data.photos.files import content
from cifsel.data.photos.sources import labelled_files
from cifsel.errors import UserError
from cifsel.runtime.terminal import count, say

# Memory for some thousands of photos, which take 2 MB each at most.
MAX_DECODED_BYTES = 4_000_000_000


@dataclasses.dataclass(frozen=True)
class Photos:
    """N labelled photos, sorted by class and name.

    Attributes:
      images: as `decoding.Photo.pixels`, of different sizes.
      labels: in 0..K-1.
      names: distinct paths within the source, as 'happy/IMG_1.jpg' or 'happy12.zip/IMG_1.jpg',
          with unprintable characters escaped.
      class_names: K sorted names.
      taken: as `decoding.Photo.taken`.
      skipped: 'name: reason' for each file that was left out.
    """

    images: tuple[UInt8[np.ndarray, "_ _ 3"], ...]
    labels: Int32[np.ndarray, " n"]
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    taken: tuple[datetime | None, ...]
    skipped: tuple[str, ...]


def load_photos(source: str, *, skip_unreadable: bool = False) -> Photos:
    """Reads and decodes labelled photos.

    Args:
      source: a folder with a sub-folder or zip for each class, or a zip with a folder for each, or
          a folder or zip for each class, joined by commas. The name of a folder is its class. So is
          that of the folder that all photos of a zip lie in, else that of the zip, without the
          digits, spaces, '-' and '_' that end it. A folder or zip that alone holds the others is
          passed through. If the folders are called train, val or test, the classes are the folders
          in them, and the photos of all splits are taken together. Hidden files, and those that
          systems leave behind, are passed over.
      skip_unreadable: leave out files that cannot be read as photos, and do not stop at them.

    Raises:
      UserError: there is nothing, or fewer than two classes, or fewer than two photos of a class,
        or two sources of the same class. Or there are more than `sources.MAX_FILES` files,
        `sources.MAX_ZIP_BYTES` in zips or `MAX_DECODED_BYTES` of pixels. Or a file cannot be read
        as a photo and is not to be skipped.
    """
    photos: list[tuple[str, str, Photo]] = []
    unreadable: list[str] = []
    room = MAX_DECODED_BYTES
    with contextlib.ExitStack() as stack:
        files = labelled_files(source, stack)
        present = {labelled.split for labelled in files}
        if splits := [split for split in ("train", "val", "test") if split in present]:
            say(f"{source} is split into {' and '.join(splits)}: their photos are taken together")
        for labelled in files:
            file = labelled.file
            try:
                photos.append((labelled.label, file.name, decode(content(file), file.name)))
            except UserError as error:
                unreadable.append(str(error))
                continue
            room -= photos[-1][2].pixels.nbytes
            if room < 0:
                raise UserError(
                    f"{source}: the first {len(photos)} photos take {MAX_DECODED_BYTES / 1e9:.0f}"
                    " GB of memory; expected some dozens: give a folder with fewer"
                )
    if unreadable and not skip_unreadable:
        more = f"; and {len(unreadable) - 3} more" if len(unreadable) > 3 else ""
        raise UserError(
            f"{source}: {len(unreadable)} of {count(len(files), 'file')} cannot be read as "
            f"photos ({'; '.join(unreadable[:3])}{more}): convert or remove them, or give "
            "--config.skip_unreadable=True"
        )
    class_names = sorted({labelled.label for labelled in files} - {""})
    _check_counts(source, class_names, Counter(label for label, _, _ in photos))
    return Photos(
        images=tuple(photo.pixels for _, _, photo in photos),
        labels=np.array([class_names.index(label) for label, _, _ in photos], np.int32),
        names=tuple(name for _, name, _ in photos),
        class_names=tuple(class_names),
        taken=tuple(photo.taken for _, _, photo in photos),
        skipped=tuple(unreadable),
    )


def _check_counts(source: str, class_names: list[str], counts: Mapping[str, int]) -> None:
    few = [f"{counts[name]} of '{name}'" for name in class_names if counts[name] < 2]
    if few:
        raise UserError(
            f"{source}: {', '.join(few[:5])}; expected 2 or more readable photos of "
            "each class: add some"
        )
