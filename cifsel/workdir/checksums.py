"""Checksums of the files of a checkpoint, written with it.

TensorStore notices a file that is cut off, and changes to its own tables. It hardly ever notices a
changed byte in the data of an array.
"""

import hashlib
import json
from collections.abc import Iterator

from etils import epath

NAME = "checksums.json"


def write(folder: epath.Path) -> None:
    """Writes the checksums of all files in the folders of a checkpoint.

    Files beside these folders are orbax's own. It may still change them, and nothing depends on
    them.
    """
    sums = {name: _sum(path) for name, path in _files(folder) if "/" in name}
    (folder / NAME).write_text(json.dumps(sums, indent=1))


def damage(folder: epath.Path, part: str = "") -> str:
    """Says in a few words what is wrong with the files of a checkpoint. '' if nothing is.

    Args:
      folder: of the checkpoint, to which `write` was applied.
      part: the start of the names of the files to check. '' for all.
    """
    try:
        sums = json.loads((folder / NAME).read_text())
        expected = {name: sum_ for name, sum_ in sums.items() if name.startswith(part)}
    except (OSError, ValueError, AttributeError, RecursionError):
        return f"{NAME} is missing or damaged"
    try:
        files = dict(_files(folder))
        for name in sorted(expected):
            if name not in files:
                return f"{name!r} is missing"
            if _sum(files[name]) != expected[name]:
                return f"{name!r} has changed since it was written"
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    return ""


def _files(folder: epath.Path) -> Iterator[tuple[str, epath.Path]]:
    """Yields all files below a folder, with their names relative to it."""
    for path in folder.iterdir():
        if path.is_dir():
            yield from ((f"{path.name}/{name}", file) for name, file in _files(path))
        elif path.is_file():
            yield path.name, path


def _sum(path: epath.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
