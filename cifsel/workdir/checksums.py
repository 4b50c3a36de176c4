"""Checksums of the files of a checkpoint, written with it.

TensorStore notices a file that is cut off, and changes to its own tables, but hardly ever a changed
byte in the data of an array.
"""

import hashlib
import json
from collections.abc import Iterator

from etils import epath

NAME = "checksums.json"
_BLOCK = 1 << 20  # bytes read at a time


def write(folder: epath.Path) -> None:
    """Writes the checksums of all files in the folders of a folder.

    Those beside the folders are orbax's own: it may still change them, and nothing depends on them.
    """
    sums = {name: _sum(path) for name, path in _files(folder) if "/" in name}
    (folder / NAME).write_text(json.dumps(sums, indent=1))


def exist(folder: epath.Path) -> bool:
    """Whether there are any; earlier versions wrote none."""
    return (folder / NAME).exists()


def damage(folder: epath.Path, part: str = "") -> str:
    """Says what is wrong with the files below a folder, in a few words; '' if nothing is.

    Args:
      folder: to which `write` was applied.
      part: the folder in it to look at; all of them without.
    """
    try:
        sums = json.loads((folder / NAME).read_text())
        expected = {name: sum_ for name, sum_ in sums.items() if name.startswith(part)}
    except (OSError, ValueError, AttributeError, RecursionError):
        return f"{NAME} is missing or damaged"
    try:
        found = dict(_files(folder))
        for name in sorted(expected):
            if name not in found:
                return f"{name!r} is missing"
            if _sum(found[name]) != expected[name]:
                return f"{name!r} has changed since it was written"
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    return ""


def _files(folder: epath.Path) -> Iterator[tuple[str, epath.Path]]:
    """All files below a folder, with their names from there on."""
    for path in folder.iterdir():
        if path.is_dir():
            yield from ((f"{path.name}/{name}", file) for name, file in _files(path))
        elif path.is_file():
            yield path.name, path


def _sum(path: epath.Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()
