"""Reads labelled photos from folders and zips: each folder or zip is a class."""

import contextlib
import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8

from cifsel.data.photos.decoding import Photo, decode
from cifsel.data.photos.files import LAYOUT, File, content, is_zip, listing
from cifsel.errors import UserError, printable
from cifsel.runtime import remote
from cifsel.runtime.paths import expanded
from cifsel.terminal import count

MAX_FILES, MAX_ZIP_BYTES = 5_000, 2_000_000_000
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
          that of a zip, without the digits, spaces, '-' and '_' that end it. Hidden files, and
          those that Windows and macOS leave behind, are passed over.
      skip_unreadable: leave out files that cannot be read as photos, and do not stop at them.

    Raises:
      UserError: there is nothing, or fewer than two classes, or fewer than two photos of a class,
        or two sources of the same class. Or there are more than `MAX_FILES` files, `MAX_ZIP_BYTES`
        in zips or `MAX_DECODED_BYTES` of pixels. Or a file cannot be read as a photo and is not to
        be skipped.
    """
    photos: list[tuple[str, str, Photo]] = []
    unreadable: list[str] = []
    room = MAX_DECODED_BYTES
    with contextlib.ExitStack() as stack:
        files = _labelled_files(source, stack)
        for label, file in files:
            try:
                photos.append((label, file.name, decode(content(file), file.name)))
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
    class_names = sorted({label for label, _ in files} - {""})
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


def _labelled_files(source: str, stack: contextlib.ExitStack) -> list[tuple[str, File]]:
    """Lists all files of the source, each with its class ('' for none), sorted by both."""
    files: list[tuple[str, File]] = []
    owners: dict[str, str] = {}
    size = 0
    for owner, file in _owned(source, stack):
        label = _label(owner)
        other = owners.setdefault(label.casefold(), owner)
        if label and other != owner:
            raise UserError(
                f"{source}: {other} and {owner} are both of class "
                f"'{label}': rename one, or put all photos of a class into one folder or zip"
            )
        files.append((label, file))
        size += file.member.file_size if file.member and not file.problem else 0
        if len(files) > MAX_FILES or size > MAX_ZIP_BYTES:
            raise UserError(
                f"{source}: more than {MAX_FILES} files, or {MAX_ZIP_BYTES / 1e9:.0f} "
                "GB in zips; expected some dozens of photos: give a folder with fewer"
            )
    labels = sorted({label for label, _ in files} - {""})
    if len(labels) < 2:
        summary = (
            f"one class, '{labels[0]}'" if labels else f"{count(len(files), 'file')}, no classes"
        )
        raise UserError(f"{source}: {summary}; {LAYOUT}")
    return sorted(files, key=lambda pair: (pair[0], pair[1].name))


def _owned(source: str, stack: contextlib.ExitStack) -> Iterator[tuple[str, File]]:
    """Yields all files, each with the folder or zip that names its class ('' for none)."""
    # A comma may also be part of a name.
    parts = [source] if _is_there(source) else source.split(",")
    # Absolute, since '.' has a name as well.
    paths = [remote.absolute(remote.path(part.strip())) for part in parts if part.strip()]
    if not paths:
        raise UserError(f"photos is {source!r}; {LAYOUT}")
    if len(paths) > 1:
        for path in paths:
            for file in listing(path, f"{path.name}/", stack):
                yield str(path), file
        return
    files: Iterable[File] = listing(paths[0], "", stack)
    if is_zip(paths[0]):
        files, wrapper = list(files), f"{paths[0].stem}/"
        # A folder that was zipped as a whole is alone in the zip.
        if all(file.name.startswith(wrapper) for file in files):
            files = [dataclasses.replace(f, name=f.name.removeprefix(wrapper)) for f in files]
    for file in files:
        owner, _, rest = file.name.partition("/")
        if rest:
            yield owner, file
        elif file.archive is None and is_zip(file.path):
            for member in listing(file.path, f"{file.name}/", stack):
                yield owner, member
        else:
            problem = "not in the folder of a class: move or remove it"
            yield "", dataclasses.replace(file, problem=file.problem or problem)


def _is_there(source: str) -> bool:
    if remote.is_remote(source):
        return remote.path(source).exists()
    return os.path.exists(expanded(source))  # noqa: PTH110 - takes names that cannot be


def _label(owner: str) -> str:
    """Returns the class: 'happy' of the zip 'happy12.zip', 'happy12' of the folder 'happy12'."""
    path = Path(printable(owner))
    if path.suffix.lower() != ".zip":
        return path.name
    # Brackets too, as a browser calls a second download 'happy12 (1).zip'.
    return path.stem.rstrip("0123456789 _-()") or path.stem
