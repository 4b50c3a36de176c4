"""Lists the labelled files of folders and zips, and names the class of each."""

import contextlib
import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from cifsel.data.photos import layout
from cifsel.data.photos.files import LAYOUT, File, is_zip, listing
from cifsel.errors import UserError, printable
from cifsel.runtime import remote
from cifsel.runtime.paths import exists
from cifsel.runtime.remote import AnyPath

MAX_FILES, MAX_ZIP_BYTES = 5_000, 2_000_000_000
_STRAY = "not in the folder of a class: move or remove it"


@dataclasses.dataclass(frozen=True)
class LabelledFile:
    """A file and its class.

    Attributes:
      file: the file. It has a problem if it has no class.
      label: the class. '' for none.
      split: 'train', 'val' or 'test' if it lies in the folder of a split, else ''.
    """

    file: File
    label: str
    split: str = ""


@dataclasses.dataclass(frozen=True)
class _Placed:
    """A file below the folder or zip that names its class.

    Attributes:
      file: the file.
      owner: path of the folder or zip, for messages. '' for none.
      inside: the folders in it that the file lies in.
      split: as `LabelledFile.split`.
    """

    file: File
    owner: str
    inside: tuple[str, ...] = ()
    split: str = ""


def labelled_files(
    source: str,
    stack: contextlib.ExitStack,
    *,
    max_files: int | None = None,
    max_zip_bytes: int | None = None,
) -> list[LabelledFile]:
    """Lists all files of a source, sorted by class and name.

    Args:
      source: as `labelled.load_photos` takes it.
      stack: closes the zips.
      max_files: most files to list. None for `MAX_FILES`.
      max_zip_bytes: most bytes of files in zips. None for `MAX_ZIP_BYTES`.

    Raises:
      UserError: there is nothing, or fewer than two classes, or two folders or zips of the same
        class. Or there are more files, or more bytes in zips, than allowed.
    """
    room = _Room(source, max_files or MAX_FILES, max_zip_bytes or MAX_ZIP_BYTES)
    placed = _without_splits(_placed(source, stack, room))
    label_of = _labels(placed)
    owner_of: dict[str, str] = {}
    for owner, label in label_of.items():
        other = owner_of.setdefault(label.casefold(), owner)
        if layout.archive_of(other) != layout.archive_of(owner):
            raise UserError(
                f"{source}: {other} and {owner} are both of class '{label}': rename one, or put"
                " all photos of a class into one folder or zip"
            )
        label_of[owner] = label_of[other]
    labels = sorted(set(label_of.values()))
    if len(labels) < 2:
        splits = sorted({file.split for file in placed} - {""})
        summary = f"one class, '{labels[0]}'" if labels else f"{len(placed)} files, no classes"
        summary += f" in the splits {' and '.join(splits)}" if splits else ""
        raise UserError(f"{source}: {summary}; {LAYOUT}")
    files = [LabelledFile(f.file, label_of[f.owner] if f.owner else "", f.split) for f in placed]
    return sorted(files, key=lambda labelled: (labelled.label, labelled.file.name))


def _labels(placed: Iterable[_Placed]) -> dict[str, str]:
    """Names the class of each folder and zip."""
    paths: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for file in placed:
        if file.owner:
            paths[file.owner].append((*file.inside, ""))
    labels, own_names = {}, {}
    for owner, below in paths.items():
        name, inside = printable(Path(owner).name), layout.common_folders(below)
        if name.lower().endswith(".zip"):
            labels[owner] = layout.class_of_zip(name, inside)
            own_names[owner] = layout.class_of_zip_name(name)
        else:
            labels[owner] = layout.class_of_folder(name, inside)
    # Zips of different names may hold folders of the same name, such as "photos".
    names_of: dict[str, set[str]] = defaultdict(set)
    for owner, name in own_names.items():
        names_of[labels[owner].casefold()].add(name)
    for owner, name in own_names.items():
        if len(names_of[labels[owner].casefold()]) > 1:
            labels[owner] = name
    return labels


def _without_splits(placed: list[_Placed]) -> list[_Placed]:
    """Takes the folders in the folders of splits for those of the classes, if there are splits."""
    paths = [(Path(file.owner).name, *file.inside, "") for file in placed if file.owner]
    splits = layout.split_folders(paths)
    if not splits:
        return placed
    moved = []
    for file in placed:
        split = splits.get(Path(file.owner).name, "")
        inside = file.inside
        while inside and layout.split_of(inside[0]) == split:  # as train.zip/train/happy
            inside = inside[1:]
        if inside:
            moved.append(_Placed(file.file, inside[0], inside[1:], split))
        else:
            moved.append(_Placed(_with_problem(file.file, _STRAY), "", (), split))
    return moved


def _placed(source: str, stack: contextlib.ExitStack, room: "_Room") -> list[_Placed]:
    """Lists all files, each with the folder or zip that names its class."""
    # A comma may also be part of a name.
    parts = [source] if _is_there(source) else source.split(",")
    # Absolute, since '.' has a name as well.
    paths = [remote.absolute(remote.path(part.strip())) for part in parts if part.strip()]
    if not paths:
        raise UserError(f"photos is {source!r}; {LAYOUT}")
    if len(paths) > 1:
        return [
            _Placed(file, str(path), tuple(file.name.split("/")[1:-1]))
            for path in paths
            for file in room.listed(path, f"{path.name}/", stack)
        ]
    placed = []
    for file in _unwrapped(list(room.listed(paths[0], "", stack)), room, stack):
        owner, *inside = file.name.split("/")
        if inside:
            placed.append(_Placed(file, owner, tuple(inside[:-1])))
        elif _is_closed_zip(file):
            placed += [
                _Placed(member, owner, tuple(member.name.split("/")[1:-1]))
                for member in room.listed(file.path, f"{owner}/", stack)
            ]
        else:
            placed.append(_Placed(_with_problem(file, _STRAY), ""))
    return placed


def _unwrapped(files: list[File], room: "_Room", stack: contextlib.ExitStack) -> list[File]:
    """Takes away the folders and zips that all classes lie in, as long as they are alone.

    Files beside them stay. Nothing is taken away where there are not two classes below.
    """
    inner: list[File] = files
    beside: list[File] = []
    while True:
        owners = {file.name.partition("/")[0] for file in inner if _names_a_class(file)}
        if len(owners) != 1:
            return [*beside, *inner] if owners else files
        (owner,) = owners
        beside += [file for file in inner if not _names_a_class(file)]
        wrapped = [file for file in inner if _names_a_class(file)]
        if wrapped[0].name == owner:  # a zip
            inner = list(room.listed(wrapped[0].path, "", stack))
        else:
            inner = [
                dataclasses.replace(file, name=file.name.removeprefix(f"{owner}/"))
                for file in wrapped
            ]


def _names_a_class(file: File) -> bool:
    """True for a file in a folder, whose first folder may name its class, and for a zip."""
    return "/" in file.name or _is_closed_zip(file)


def _is_closed_zip(file: File) -> bool:
    return file.archive is None and is_zip(file.path)


def _with_problem(file: File, problem: str) -> File:
    return dataclasses.replace(file, problem=file.problem or problem)


def _is_there(source: str) -> bool:
    # A name may be one that no file can have.
    return exists(remote.path(source))


class _Room:
    """The number of files and bytes of zips that may still be listed."""

    def __init__(self, source: str, files: int, zip_bytes: int) -> None:
        self._source, self._files, self._bytes = source, files, zip_bytes
        self._limit = f"{files:,} files, or {zip_bytes / 1e9:,.0f} GB in zips"

    def listed(self, path: AnyPath, prefix: str, stack: contextlib.ExitStack) -> Iterator[File]:
        """Yields what `files.listing` does, and raises UserError when there is no room left."""
        for file in listing(path, prefix, stack):
            self._files -= 1
            self._bytes -= file.member.file_size if file.member and not file.problem else 0
            if self._files < 0 or self._bytes < 0:
                raise UserError(
                    f"{self._source}: more than {self._limit}: give a folder with fewer"
                )
            yield file
