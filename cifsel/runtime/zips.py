"""Zips and .npz files from somebody else, read in bounded memory and without unpickling.

An .npz file is a zip of arrays. Two sizes are bounded. Python reads a zip's list of files as a
whole when it opens the zip. And a small file may claim to hold huge arrays.
"""

import io
import os
import zipfile
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from etils import epath

from cifsel.errors import one_line
from cifsel.runtime import regular

# Enough for 80,000 files. A zip of photos has far fewer.
MAX_LIST_BYTES = 8_000_000


class _Bounded:
    """A file that refuses to read more than `MAX_LIST_BYTES` at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int = -1) -> bytes:
        if size > MAX_LIST_BYTES:
            raise ValueError(f"its list of files is larger than {MAX_LIST_BYTES / 1e6:.0f} MB")
        return self._file.read(size)


def opened(file: IO[bytes]) -> zipfile.ZipFile:
    """Opens a zip. Read its members in pieces of a few MB at most.

    Raises:
      Exception: of any kind, if it is damaged.
    """
    return zipfile.ZipFile(cast(IO[bytes], _Bounded(file)))


def read_arrays(path: epath.Path | Path, most: int) -> dict[str, np.ndarray]:
    """Reads the arrays of an .npz file.

    Args:
      path: local or gs://.
      most: number of bytes of all arrays together.

    Returns:
      The arrays by name, of any shapes and types but objects. The caller checks them.

    Raises:
      OSError: there is no such file, or it cannot be read.
      ValueError: it is no .npz file, or damaged, or too large.
    """
    with regular.opened(path) as file:
        try:
            local = "://" not in os.fspath(path)
            return _arrays(file if local else io.BytesIO(_whole(file, most)), most)
        except Exception as error:  # Damaged zips and headers raise many classes.
            raise ValueError(one_line(error)) from error


def _whole(file: IO[bytes], most: int) -> bytes:
    data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"more than {most / 1e6:.0f} MB")
    return data


def _arrays(file: IO[bytes], most: int) -> dict[str, np.ndarray]:
    arrays = {}
    with opened(file) as archive:
        members = archive.infolist()
        if (total := sum(member.file_size for member in members)) > most:
            raise ValueError(f"{total:,} bytes of arrays; expected {most:,} at most")
        for member in members:
            with archive.open(member) as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False)
            if array.size > most:  # Elements of some types take no bytes.
                raise ValueError(f"{member.filename} says that it has {array.size:,} elements")
            arrays[member.filename.removesuffix(".npy")] = array
    return arrays
