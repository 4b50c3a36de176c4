"""Reads files that somebody else may have put there: regular ones only, and in bounded memory.

A pipe would be waited for without end, and a device such as /dev/zero has no end. Every file of a
run is opened here.
"""

import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import cast

from etils import epath

# Windows has neither. It has no pipes among its files either.
_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def opened(path: epath.Path | Path) -> BufferedReader:
    """Opens a regular file, or a link to one, for reading. A path on gs:// is opened by gcsfs.

    Raises:
      OSError: it is not there, or cannot be opened.
      ValueError: it is a folder, a pipe, a socket or a device.
    """
    if "://" in os.fspath(path):
        return cast(BufferedReader, path.open("rb"))
    # Asked first as well, since opening some devices has an effect.
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - epath's stat has no mode
        raise ValueError("not a regular file")
    # A pipe that has come in between is opened without waiting for its writer.
    handle = os.open(path, os.O_RDONLY | _FLAGS)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ValueError("not a regular file")
    return os.fdopen(handle, "rb")


def content(path: epath.Path | Path, most: int) -> bytes:
    """Reads a regular file of `most` bytes or fewer.

    Raises:
      OSError: it is not there, or cannot be read.
      ValueError: it is larger, or not a regular file.
    """
    with opened(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"more than {most / 1e6:.0f} MB")
    return data
