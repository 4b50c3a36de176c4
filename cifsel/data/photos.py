"""Photos as people keep them, in folders and zips, with a label for each.

The files come from anywhere. Zips are read in memory: nothing is extracted, executed or unpickled.
"""

import contextlib
import dataclasses
import os
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import numpy as np

from cifsel import zips
from cifsel.data.photo import MAX_FILE_BYTES, Photo, decode
from cifsel.errors import UserError, one_line, printable
from cifsel.paths import expanded

MAX_FILES, MAX_ZIP_BYTES, MAX_DEPTH = 5_000, 2_000_000_000, 40
# Of memory, for photos of which each has 2 MB at most: some thousands of them.
MAX_DECODED_BYTES = 4_000_000_000
_PIECE_BYTES = 2**20
# Photos hardly compress any further; small drawings may.
MAX_ZIP_RATIO, ANY_RATIO_BYTES = 200, 1_000_000

_LITTER = {"__macosx", "thumbs.db", "desktop.ini"}
_LAYOUT = (
    "expected a sub-folder or zip for each of two or more classes, as in happy/IMG_1.jpg and "
    "sad/IMG_2.jpg, or several of either, as in --config.photos=happy12.zip,sad12.zip"
)


@dataclasses.dataclass(frozen=True)
class Photos:
    """N labelled photos, sorted by class and name.

    Attributes:
      images: as `photo.Photo.pixels`, of different sizes.
      labels: int32 (N,), in 0..K-1.
      names: distinct paths within the source, as 'happy/IMG_1.jpg' or 'happy12.zip/IMG_1.jpg',
          with unprintable characters escaped.
      class_names: K sorted names.
      taken: as `photo.Photo.taken`.
      skipped: 'name: reason' for each file that was left out.
    """

    images: tuple[np.ndarray, ...]
    labels: np.ndarray
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    taken: tuple[datetime | None, ...]
    skipped: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class File:
    """A file on disk, or a member of a zip; with a problem, it is not read.

    Attributes:
      name: for people, printable.
      path: of the file, or of the zip.
      archive: the open zip that it is a member of.
      member: which one.
      problem: why it had better not be read; empty if it can be.
    """

    name: str
    path: Path
    archive: zipfile.ZipFile | None = None
    member: zipfile.ZipInfo | None = None
    problem: str = ""


def load(source: str, *, skip_unreadable: bool = False) -> Photos:
    """Reads labelled photos.

    Args:
      source: a folder with a sub-folder or zip for each class, a zip with a folder for each, or
          folders and zips joined by commas, each of which is a class. A folder names its class;
          so does a zip, without the digits, spaces, '-' and '_' that end its name. Hidden files
          and what Windows and macOS leave behind are passed over.
      skip_unreadable: leave out what cannot be read as a photo rather than stop.

    Returns:
      The photos, decoded once.

    Raises:
      UserError: nothing there, fewer than two classes or than two photos of one, two sources of
        one class, more than `MAX_FILES` files, `MAX_ZIP_BYTES` in zips or `MAX_DECODED_BYTES` of
        pixels, or a file that cannot be read as a photo and is not to be skipped.
    """
    photos: list[tuple[str, str, Photo]] = []
    unreadable: list[str] = []
    room = MAX_DECODED_BYTES
    with contextlib.ExitStack() as stack:
        files = _find(source, stack)
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
            f"{source}: {len(unreadable)} of {len(files)} files cannot be read as "
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


def _find(source: str, stack: contextlib.ExitStack) -> list[tuple[str, File]]:
    """All files of the source, each with its class ('' for none), sorted by both."""
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
        found = f"one class, '{labels[0]}'" if labels else f"{len(files)} files, no classes"
        raise UserError(f"{source}: {found}; {_LAYOUT}")
    return sorted(files, key=lambda pair: (pair[0], pair[1].name))


def _owned(source: str, stack: contextlib.ExitStack) -> Iterator[tuple[str, File]]:
    """Yields all files, each with the folder or zip that names its class ('' for none)."""
    # A comma may also be part of a name.
    whole = os.path.exists(expanded(source))  # noqa: PTH110 - takes names that cannot be
    parts = [source] if whole else source.split(",")
    # Absolute, since '.' has a name as well.
    paths = [Path(expanded(part.strip())).absolute() for part in parts if part.strip()]
    if not paths:
        raise UserError(f"photos is {source!r}; {_LAYOUT}")
    if len(paths) > 1:
        for path in paths:
            for file in listing(path, f"{path.name}/", stack):
                yield str(path), file
        return
    files: Iterable[File] = listing(paths[0], "", stack)
    if is_zip(paths[0]):
        files, wrapper = list(files), f"{paths[0].stem}/"
        # Zipped as a whole, a folder is all that is in the zip.
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


def listing(path: Path, prefix: str, stack: contextlib.ExitStack) -> Iterator[File]:
    """Yields the files in a folder, level by level in sorted order, or in a zip, in its order.

    Hidden files and what Windows and macOS leave behind are passed over.

    Args:
      path: a folder, searched to any depth, or a zip; zips in a folder are files like any other.
      prefix: of the names.
      stack: closes the zip.

    Raises:
      UserError: neither of them, a folder that cannot be listed or is too deep, or a zip that is
        damaged or leads out of itself.
    """
    if prefix.count("/") > MAX_DEPTH:
        raise UserError(f"{path}: more than {MAX_DEPTH} folders deep; {_LAYOUT}")
    if is_zip(path):
        try:
            archive = stack.enter_context(zips.opened(stack.enter_context(path.open("rb"))))
        except Exception as error:  # damaged directories come as many kinds of them
            raise UserError(
                f"{path}: not a zip, or a damaged one ({one_line(error)}): fetch it again"
            ) from error
        yield from _members(archive, path, prefix)
    elif os.path.isdir(path):  # noqa: PTH112 - pathlib's fails for names that are too long
        try:
            children = sorted(path.iterdir())
        except OSError as error:
            raise UserError(f"{path}: cannot be listed ({error.strerror})") from error
        for child in children:
            if is_litter(child.name):
                continue
            # The folder of a class may be a link. Further down, a link may lead back up.
            folder = os.path.isdir(child)  # noqa: PTH112 - as above
            if folder and (not prefix or not child.is_symlink()):
                yield from listing(child, f"{prefix}{printable(child.name)}/", stack)
            else:
                yield File(f"{prefix}{printable(child.name)}", child)
    else:
        found = "not a folder or .zip file" if os.path.lexists(path) else "no such folder or zip"
        raise UserError(f"{path}: {found}; {_LAYOUT}")


def _members(archive: zipfile.ZipFile, path: Path, prefix: str) -> Iterator[File]:
    """Yields the files in an open zip, those that had better not be read with a problem."""
    seen: set[str] = set()
    room = path.stat().st_size
    for info in archive.infolist():
        room -= info.compress_size
        if room < 0:
            raise UserError(
                f"{path}: holds files that take more room than it has; expected each to be in it"
                " once: do not trust this file"
            )
        parts = info.filename.replace("\\", "/").removeprefix("./").split("/")
        if parts[0] == "" or ".." in parts or re.match("[A-Za-z]:", parts[0]):
            raise UserError(
                f"{path}: holds {info.filename}, which leads out of the "
                "zip; expected paths within: do not trust this file"
            )
        if parts[-1] == "" or any(map(is_litter, parts)):
            continue
        problem, kind = "", stat.S_IFMT(info.external_attr >> 16)
        ratio = info.file_size / max(info.compress_size, 1)
        if (name := prefix + printable("/".join(parts))) in seen:
            problem = "the zip holds two files of this name"
        elif kind not in (0, stat.S_IFREG):
            problem = "a link or device, not a file"
        elif info.flag_bits & 1:
            problem = "encrypted: unpack the zip with its password and give the folder"
        elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            problem = "compressed in an uncommon way: unpack the zip and give the folder"
        elif info.file_size > MAX_FILE_BYTES:
            problem = f"{info.file_size / 1e6:.0f} MB; expected {MAX_FILE_BYTES / 1e6:.0f} at most"
        elif info.file_size > ANY_RATIO_BYTES and ratio > MAX_ZIP_RATIO:
            problem = f"expands {ratio:.0f}-fold, as no photo does"
        seen.add(name)
        yield File(name, path, archive, info, problem)


def content(file: File) -> bytes | Path:
    """What `decode` is to decode.

    Raises:
      UserError: the file has a problem, or is damaged in its zip.
    """
    if file.problem:
        raise UserError(f"{file.name}: {file.problem}")
    if file.archive is None or file.member is None:
        return file.path
    try:
        with file.archive.open(file.member) as stream:
            # No more than is promised, which is all that is checked.
            data = b"".join(iter(lambda: stream.read(_PIECE_BYTES), b""))
    except Exception as error:  # damage comes as many kinds of them
        raise UserError(f"{file.name}: damaged in the zip ({one_line(error)})") from error
    if len(data) != file.member.file_size:
        raise UserError(f"{file.name}: damaged in the zip (not of the size that it says)")
    return data


def is_zip(path: Path) -> bool:
    """Whether `listing` takes it for a zip: a file that is named so."""
    return path.suffix.lower() == ".zip" and os.path.isfile(path)  # noqa: PTH113 - as above


def is_litter(name: str) -> bool:
    """Whether a file or folder of that name is hidden, or left behind by Windows or macOS."""
    return name.startswith(".") or name.casefold() in _LITTER


def _label(owner: str) -> str:
    """'photos/happy12.zip' -> 'happy', but 'photos/happy12', a folder -> 'happy12'."""
    path = Path(printable(owner))
    if path.suffix.lower() != ".zip":
        return path.name
    # Brackets as well: a browser calls what is downloaded twice 'happy12 (1).zip'.
    return path.stem.rstrip("0123456789 _-()") or path.stem
