"""Tells from the names of files what the folders around them are: wrappers, splits or classes."""

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

# How folders of splits are called.
_SPLIT_OF = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "eval": "val",
    "evaluation": "val",
    "test": "test",
    "testing": "test",
}
# Endings that Google Drive gives to a folder that it packs, and browsers to a second download.
_DRIVE = re.compile(r"-\d{8}T\d{6}Z(-\d+){0,2}( ?\(\d+\))?$")
_AGAIN = re.compile(r" ?\(\d+\)$")
# Drive numbers the parts of a large folder.
_DRIVE_PART = re.compile(r"(-\d{8}T\d{6}Z(?:-\d+)?)-\d{3}(?=\.zip$|$)", re.IGNORECASE)


def split_of(folder: str) -> str | None:
    """Returns 'train', 'val' or 'test', as a folder or zip is named after them, or None."""
    name = folder.casefold()
    return _SPLIT_OF.get(name.removesuffix(".zip"))


def split_folders(paths: Iterable[Sequence[str]]) -> dict[str, str]:
    """Tells folders of splits from folders of classes.

    Folders are splits if all of them are named after splits and two or more are. A class is hardly
    called so, and then has another class beside it.

    Args:
      paths: the files below one folder, each as its parts: ('train', 'happy', 'IMG_1.jpg'). Those
        of one part, which lie in no folder, have no say.

    Returns:
      Folder -> 'train', 'val' or 'test'. Empty if the folders are no splits.
    """
    folders = sorted({path[0] for path in paths if len(path) > 1})
    splits = {folder: split for folder in folders if (split := split_of(folder))}
    return splits if len(splits) == len(folders) >= 2 else {}


def common_folders(paths: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Returns the folders, from the outermost one, that all files lie in.

    Args:
      paths: the files, each as its parts.
    """
    folders: list[str] = []
    for names in zip(*(path[:-1] for path in paths), strict=False):
        if len(set(names)) > 1:
            break
        folders.append(names[0])
    return tuple(folders)


def class_of_folder(name: str, inside: Sequence[str]) -> str:
    """Names the class of a folder of photos.

    Args:
      name: of the folder.
      inside: the folders in it that all of its files lie in.

    Returns:
      The name of the folder. An unpacked download has that of the folder that was packed.
    """
    packed = _DRIVE.sub("", name)
    if packed == name and _AGAIN.sub("", name) in inside:
        return _AGAIN.sub("", name)
    return packed or name


def class_of_zip(name: str, inside: Sequence[str]) -> str:
    """Names the class of a zip of photos.

    Args:
      name: of the zip.
      inside: the folders in it that all of its files lie in.

    Returns:
      The name of the innermost of these folders. But without them, or if the zip has the name of
      one of them, it is the name of the zip without digits, spaces, '-' and '_' at the end.
    """
    own = class_of_zip_name(name)
    if not inside or own in map(_without_number, inside):
        return own
    return inside[-1]


def class_of_zip_name(name: str) -> str:
    """Returns 'happy' for 'happy12.zip', 'happy12 (1).zip' and 'happy-20261129T201500Z-001.zip'."""
    return _without_number(_DRIVE.sub("", PurePosixPath(name).stem))


def _without_number(name: str) -> str:
    return name.rstrip("0123456789 _-()") or name


def archive_of(name: str) -> str:
    """Returns the name of a zip without the number that Drive gives the parts of a folder."""
    return _DRIVE_PART.sub(r"\1", name)
