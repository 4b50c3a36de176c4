"""Checksums of the files of a checkpoint, written with it.

TensorStore notices a file that is cut off, and changes to its own tables. It hardly ever notices a
changed byte in the data of an array.
"""

import hashlib
import json
import os
from collections.abc import Iterator

from etils import epath

from cifsel.runtime import regular
from cifsel.runtime.paths import is_file, is_folder

NAME = "checksums.json"
# orbax's own files are read whole, and have some kilobytes. The arrays of the largest model and its
# optimizer have 2.5 GB.
MAX_INDEX_BYTES, MAX_FOLDER_BYTES = 16_000_000, 10_000_000_000
MAX_FILES, MAX_DEPTH = 10_000, 8
_ARRAYS = "d"  # TensorStore's folder of the numbers of arrays


def write(folder: epath.Path) -> None:
    """Writes the checksums of all files in the folders of a checkpoint.

    Files beside these folders are orbax's own. It may still change them, and nothing depends on
    them.
    """
    sums = {name: _sum(path) for name, path in _files(folder) if "/" in name}
    (folder / NAME).write_text(json.dumps(sums, indent=1))


def digest(folder: epath.Path, parts: tuple[str, ...]) -> str:
    """One digest for all checksums whose names begin with one of `parts`.

    Raises:
      OSError: `damage` has something to say of the folder.
      ValueError: likewise.
    """
    sums = json.loads(regular.content(folder / NAME, MAX_INDEX_BYTES))
    kept = sorted((name, sums[name]) for name in sums if name.startswith(parts))
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()


def damage(folder: epath.Path, part: str = "") -> str:
    """Says in a few words what is wrong with the files of a checkpoint. '' if nothing is.

    Args:
      folder: of the checkpoint, to which `write` was applied.
      part: the start of the names of the files to check. '' for all.
    """
    try:
        sums = json.loads(regular.content(folder / NAME, MAX_INDEX_BYTES))
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
    except (OSError, ValueError) as error:
        return f"it cannot be read: {getattr(error, 'strerror', None) or error}"
    return ""


def irregular(folder: epath.Path) -> str:
    """Says what in a local folder is no checkpoint's, such as a pipe. '' if nothing is.

    orbax may open such a file as soon as it lists checkpoints, and wait for it without end.
    """
    try:
        if not is_folder(folder):
            raise ValueError("not a folder")
        for _ in _files(folder):
            pass
    except FileNotFoundError:
        return ""  # A run that goes on has deleted it.
    except (OSError, ValueError) as error:
        return f"it cannot be read: {getattr(error, 'strerror', None) or error}"
    return ""


def _files(folder: epath.Path) -> Iterator[tuple[str, epath.Path]]:
    """Yields all files below a folder, with their names relative to it.

    Raises:
      OSError: a folder cannot be listed.
      ValueError: something is neither a folder nor a regular file, or too large, or there is more
        than a checkpoint has.
    """
    total = 0
    for number, (name, path) in enumerate(_walk(folder, ())):
        # Of files on gs://, each size would be a request. There are no pipes.
        if "://" not in os.fspath(path):
            size = os.stat(path).st_size  # noqa: PTH116 - epath asks for the owner too
            total += size
            if size > MAX_INDEX_BYTES and f"/{_ARRAYS}/" not in f"/{name}":
                raise ValueError(f"{name!r} has {size / 1e6:,.0f} MB")
        if number > MAX_FILES or total > MAX_FOLDER_BYTES:
            raise ValueError(f"{number:,} files and {total / 1e9:,.0f} GB are no checkpoint")
        yield name, path


def _walk(folder: epath.Path, above: tuple[str, ...]) -> Iterator[tuple[str, epath.Path]]:
    if len(above) > MAX_DEPTH:  # A link may lead back up.
        raise ValueError(f"{'/'.join(above)!r} is more than {MAX_DEPTH} folders deep")
    for path in folder.iterdir():
        if is_folder(path):
            yield from _walk(path, (*above, path.name))
        elif is_file(path):
            yield "/".join((*above, path.name)), path
        elif os.path.lexists(path):  # Else a run that goes on has deleted it.
            raise ValueError(f"{'/'.join((*above, path.name))!r} is not a regular file")


def _sum(path: epath.Path) -> str:
    with regular.opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
