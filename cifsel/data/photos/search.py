"""Finds the photos that are named by paths, patterns, folders and zips."""

import contextlib
import dataclasses
import itertools
import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from etils import epath
from jaxtyping import UInt8

from cifsel.data.photos import files
from cifsel.data.photos.decoding import decode
from cifsel.errors import UserError, one_line, printable
from cifsel.runtime import remote
from cifsel.runtime.paths import expanded, is_folder
from cifsel.runtime.remote import AnyPath


@dataclasses.dataclass(frozen=True)
class Item:
    """A photo to predict on.

    Attributes:
      photo: its path, as it was given, or as a pattern or folder gave it.
      file: the file to read. Its name is `photo`, printable.
    """

    photo: str
    file: files.File

    @property
    def name(self) -> str:
        """The name for messages."""
        return self.file.name

    def pixels(self) -> UInt8[np.ndarray, "h w 3"]:
        """Reads and decodes the photo.

        Raises:
          UserError: it cannot be used, see `decode`.
        """
        return decode(files.content(self.file), self.file.name).pixels


def find_photos(arguments: Iterable[str], stack: contextlib.ExitStack) -> list[Item]:
    """Finds photos, in the order of the arguments, and sorted within folders and patterns.

    Args:
      arguments: paths of files, folders and zips, or patterns of them.
      stack: closes the zips.

    Raises:
      UserError: a folder or zip holds no files, or cannot be listed or searched.
    """
    items: list[Item] = []
    for argument in arguments:
        path = expanded(argument)
        # A shell hands on a pattern that matches nothing on its machine.
        if not _is_there(_path(path)) and (matches := _matches(path)):
            below = itertools.chain.from_iterable(
                _inside(match, _path(match), stack) for match in matches
            )
            # '**' matches folders as well as the files in them.
            named = list({item.photo: item for item in below}.values())
        else:
            named = _inside(argument, _path(path), stack)
        if not named:
            raise UserError(f"{argument}: no files in it; expected photos")
        items += named
    return items


def _matches(pattern: str) -> list[str]:
    """Returns the paths that match a pattern, without those that a folder's listing passes over."""
    given = Path(pattern).parts
    matches = _remote_matches(pattern) if remote.is_remote(pattern) else _local_matches(pattern)
    return [
        match
        for match in matches
        if not any(files.is_litter(part) for part in Path(match).parts if part not in given)
    ]


def _local_matches(pattern: str) -> list[str]:
    if not _is_pattern(pattern):
        return []
    start = Path(Path(pattern).anchor)
    try:
        # pathlib follows no links that lead in circles, but glob does.
        return sorted(map(str, start.glob(str(Path(pattern).relative_to(start)))))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{pattern}: cannot be searched ({one_line(error)})") from error


def _is_pattern(text: str) -> bool:
    return bool(re.search(r"[*?[]", text))


def _remote_matches(pattern: str) -> list[str]:
    if "**" in pattern:
        raise UserError(f"{pattern}: no '**' on gs://; give the folder")
    if not _is_pattern(pattern):
        return []
    bucket, _, below = pattern.removeprefix("gs://").partition("/")
    return sorted(map(str, epath.Path(f"gs://{bucket}").glob(below)))


def _path(path: str) -> AnyPath:
    return remote.path(path) if remote.is_remote(path) else Path(path)


def _is_there(path: AnyPath) -> bool:
    return path.exists() if remote.is_remote(path) else os.path.lexists(path)


def _inside(photo: str, path: AnyPath, stack: contextlib.ExitStack) -> list[Item]:
    """Returns a file itself, or the files in a folder or zip, and in the zips of a folder."""
    if not is_folder(path) and not files.is_zip(path):
        # For a file of this machine, `decode` has a better message.
        missing = remote.is_remote(path) and not path.exists()
        problem = "no such file" if missing else ""
        return [Item(photo, files.File(printable(photo), path, problem=problem))]
    items = []
    for file in files.listing(path, "", stack):
        zipped = file.archive is None and files.is_zip(file.path)
        for inner in _in_zip(file.path, stack) if zipped else [file]:
            name = f"{inner.path}/{inner.member.filename}" if inner.member else f"{inner.path}"
            items.append(Item(name, dataclasses.replace(inner, name=printable(name))))
    return items


def _in_zip(path: AnyPath, stack: contextlib.ExitStack) -> list[files.File]:
    """Returns the photos in a zip of a folder. A damaged zip is a file with a problem."""
    try:
        return list(files.listing(path, "", stack))
    except UserError as error:
        return [files.File(str(path), path, problem=reason(error, path))]


def reason(error: UserError, name: object) -> str:
    """Returns the message of an error about a file, without the file's name."""
    return str(error).removeprefix(f"{printable(name)}: ")
