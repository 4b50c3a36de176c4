"""Local paths as users and files give them: '~', names that cannot exist, pipes and devices."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Else it takes a fifth of a second, for which --help need not wait.
    from etils import epath


def expanded(given: str) -> str:
    """A path with the home folder in the place of '~'. Addresses and unknown users stay."""
    return os.path.expanduser(given)  # noqa: PTH111 - pathlib's fails for unknown users


def exists(path: "epath.Path | Path") -> bool:
    """Whether there is such a file or folder. False for a name that no file can have."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_file(path: "epath.Path | Path") -> bool:
    """Whether there is such a regular file. False for pipes and devices, which have no end."""
    if "://" in os.fspath(path):
        return path.is_file()
    # epath says True for pipes. pathlib fails for names that no file can have.
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: "epath.Path | Path") -> bool:
    """Whether there is such a folder."""
    if "://" in os.fspath(path):
        return path.is_dir()
    return os.path.isdir(path)  # noqa: PTH112 - as above
