"""Paths as people, and files, give them."""

import os
from pathlib import Path

from etils import epath


def expanded(given: str) -> str:
    """A path with the home folder in the place of '~'; addresses and unknown users' stay."""
    return os.path.expanduser(given)  # noqa: PTH111 - pathlib's fails for unknown users


def exists(path: epath.Path | Path) -> bool:
    """Whether there is such a file or folder; not if it cannot even be called that."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_file(path: epath.Path | Path) -> bool:
    """Whether there is a file that can be read to its end, unlike pipes and devices."""
    if "://" in os.fspath(path):
        return path.is_file()
    # epath takes all for files that are no folders; pathlib fails for names that cannot be.
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: epath.Path | Path) -> bool:
    """Whether there is such a folder."""
    if "://" in os.fspath(path):
        return path.is_dir()
    return os.path.isdir(path)  # noqa: PTH112 - as above
