"""Which photos are meant by paths, patterns, folders and zips."""

import contextlib
import dataclasses
import itertools
import os
import re
from collections.abc import Iterable
from pathlib import Path

from cifsel.data import photos
from cifsel.errors import UserError, one_line, printable
from cifsel.paths import expanded


@dataclasses.dataclass(frozen=True)
class Item:
    """A photo to look at.

    Attributes:
      photo: its path, as it was given or found.
      file: what to read; its name is `photo`, printable.
    """

    photo: str
    file: photos.File


def find(arguments: Iterable[str], stack: contextlib.ExitStack) -> list[Item]:
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
        if not os.path.lexists(path) and (matches := _matches(path)):
            below = itertools.chain.from_iterable(_inside(one, Path(one), stack) for one in matches)
            # '**' finds folders as well as what is in them.
            found = list({item.photo: item for item in below}.values())
        else:
            found = _inside(argument, Path(path), stack)
        if not found:
            raise UserError(f"{argument}: no files in it; expected photos")
        items += found
    return items


def _matches(pattern: str) -> list[str]:
    """What a pattern finds, without what is passed over in folders too."""
    if not re.search(r"[*?[]", pattern):
        return []
    said, start = Path(pattern).parts, Path(Path(pattern).anchor)
    try:
        # Unlike glob, pathlib follows no links that lead in circles.
        found = sorted(map(str, start.glob(str(Path(pattern).relative_to(start)))))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{pattern}: cannot be searched ({one_line(error)})") from error
    return [
        one
        for one in found
        if not any(photos.is_litter(part) for part in Path(one).parts if part not in said)
    ]


def _inside(photo: str, path: Path, stack: contextlib.ExitStack) -> list[Item]:
    """A file itself, or what is in a folder or zip, zips in a folder included."""
    if not os.path.isdir(path) and not photos.is_zip(path):  # noqa: PTH112 - pathlib's fails at times
        return [Item(photo, photos.File(printable(photo), path))]
    items = []
    for file in photos.listing(path, "", stack):
        zipped = file.archive is None and photos.is_zip(file.path)
        for one in _in_zip(file.path, stack) if zipped else [file]:
            inner = f"/{one.member.filename}" if one.member else ""
            name = f"{one.path}{inner}"
            items.append(Item(name, dataclasses.replace(one, name=printable(name))))
    return items


def _in_zip(path: Path, stack: contextlib.ExitStack) -> list[photos.File]:
    """The photos in a zip that is one file of many; one that is damaged is an unreadable file."""
    try:
        return list(photos.listing(path, "", stack))
    except UserError as error:
        return [photos.File(str(path), path, problem=reason(error, path))]


def reason(error: UserError, name: object) -> str:
    """What an error says of a file, without the file's name."""
    return str(error).removeprefix(f"{printable(name)}: ")
