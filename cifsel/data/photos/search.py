"""Which photos are meant by paths, patterns, folders and zips."""

import contextlib
import dataclasses
import itertools
import os
import re
from collections.abc import Iterable
from pathlib import Path

from etils import epath

from cifsel.data.photos import files
from cifsel.errors import UserError, one_line, printable
from cifsel.runtime import remote
from cifsel.runtime.paths import expanded, is_folder
from cifsel.runtime.remote import AnyPath


@dataclasses.dataclass(frozen=True)
class Item:
    """A photo to look at.

    Attributes:
      photo: its path, as it was given or found.
      file: what to read; its name is `photo`, printable.
    """

    photo: str
    file: files.File


def find_photos(arguments: Iterable[str], stack: contextlib.ExitStack) -> list[Item]:
    """Finds the photos that are meant, in the order given; folders and patterns in sorted order.

    Args:
      arguments: paths of files, folders and zips, or patterns of them.
      stack: closes the zips.

    Raises:
      UserError: a folder or zip in which there is nothing to look at, or that cannot be listed or
        searched.
    """
    items: list[Item] = []
    for argument in arguments:
        path = expanded(argument)
        # A shell that finds nothing, or is none, hands patterns on.
        if not _is_there(_path(path)) and (matches := _matches(path)):
            below = itertools.chain.from_iterable(
                _inside(one, _path(one), stack) for one in matches
            )
            # '**' finds folders as well as what is in them.
            found = list({item.photo: item for item in below}.values())
        else:
            found = _inside(argument, _path(path), stack)
        if not found:
            raise UserError(f"{argument}: no files in it; expected photos")
        items += found
    return items


def _matches(pattern: str) -> list[str]:
    """What a pattern finds, without what is passed over in folders too."""
    said = Path(pattern).parts
    found = _remote_matches(pattern) if remote.is_remote(pattern) else _local_matches(pattern)
    return [
        one
        for one in found
        if not any(files.is_litter(part) for part in Path(one).parts if part not in said)
    ]


def _local_matches(pattern: str) -> list[str]:
    if not _is_pattern(pattern):
        return []
    start = Path(Path(pattern).anchor)
    try:
        # Unlike glob, pathlib follows no links that lead in circles.
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
    """A file itself, or what is in a folder or zip, zips in a folder included."""
    if not is_folder(path) and not files.is_zip(path):
        # Of this machine, `decode` says more of what is wrong with it.
        missing = remote.is_remote(path) and not path.exists()
        problem = "no such file" if missing else ""
        return [Item(photo, files.File(printable(photo), path, problem=problem))]
    items = []
    for file in files.listing(path, "", stack):
        zipped = file.archive is None and files.is_zip(file.path)
        for one in _in_zip(file.path, stack) if zipped else [file]:
            inner = f"/{one.member.filename}" if one.member else ""
            name = f"{one.path}{inner}"
            items.append(Item(name, dataclasses.replace(one, name=printable(name))))
    return items


def _in_zip(path: AnyPath, stack: contextlib.ExitStack) -> list[files.File]:
    """The photos in a zip that is one file of many; one that is damaged is an unreadable file."""
    try:
        return list(files.listing(path, "", stack))
    except UserError as error:
        return [files.File(str(path), path, problem=reason(error, path))]


def reason(error: UserError, name: object) -> str:
    """What an error says of a file, without the file's name."""
    return str(error).removeprefix(f"{printable(name)}: ")
