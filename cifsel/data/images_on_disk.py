"""Images in a file that is mapped into memory. They are read when they are indexed."""

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8


class ImagesOnDisk:
    """Rows of an array of images in a file. It reads like a NumPy array of uint8 (n, h, w, 3).

    Indexing by a number, a slice or an array of positions reads these images. The pages of the file
    are given back after each read, so that memory does not grow with the number of images.

    Args:
      mapped: the file.
      stored: all images in it, a view of the mapped memory.
      rows: the images that count, in this order.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(
        self,
        mapped: mmap.mmap,
        stored: UInt8[np.ndarray, "all h w 3"],
        rows: Int64[np.ndarray, " n"],
    ) -> None:
        self._mapped, self._stored, self._rows = mapped, stored, rows

    @classmethod
    def open(cls, path: Path, count: int, side: int) -> "ImagesOnDisk":
        """Maps a file of `count` square images, one after the other.

        Raises:
          OSError: there is no such file.
          ValueError: it has another size.
        """
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        stored = np.frombuffer(mapped, np.uint8).reshape(count, side, side, 3)
        return cls(mapped, stored, np.arange(count))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, h, w, 3)."""
        _, height, width, channels = self._stored.shape
        return len(self._rows), height, width, channels

    @property
    def nbytes(self) -> int:
        """Bytes that the images would take in memory."""
        return len(self) * int(np.prod(self.shape[1:]))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> UInt8[np.ndarray, "..."]:
        images = np.array(self._stored[self._rows[index]])
        if hasattr(self._mapped, "madvise"):  # Windows has none.
            self._mapped.madvise(mmap.MADV_DONTNEED)
        return images

    def at(self, positions: Int64[np.ndarray, " m"]) -> "ImagesOnDisk":
        """Returns the images at these positions, which are not read yet."""
        return ImagesOnDisk(self._mapped, self._stored, self._rows[positions])
