"""A file in memory for Pillow that limits how much Pillow reads of it, and in how many pieces."""

import io
import math

from cifsel.errors import UserError

# Limits for files that take long to decode for their size. Pillow reads a photo of 60 MB in 3,000
# pieces. It reads the tags of a TIFF twice, and makes an object of each number in them.
MAX_PIECES, MAX_TAG_BYTES = 200_000, 8_000_000


class Pieces(io.BytesIO):
    """A file that refuses to be read in too many pieces, or too often.

    Attributes:
      bytes_left: how many more bytes may be read.
    """

    def __init__(self, data: bytes, bytes_left: float = math.inf) -> None:
        super().__init__(data)
        self._pieces = MAX_PIECES
        self.bytes_left = bytes_left

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads as `io.BytesIO` does. Raises UserError when a limit is passed."""
        data = super().read(size)
        self._pieces -= 1
        self.bytes_left -= len(data)
        if self._pieces < 0 or self.bytes_left < 0:
            raise UserError("in too many pieces, or with too much beside the image: save it anew")
        return data
