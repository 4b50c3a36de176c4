"""Reads single tags of EXIF blocks and TIFF files, in bounded memory whatever their size.

Pillow's own `getexif` copies each tag that a block holds. The tags of a block of 1 MB may all point
at the same bytes and so take 20 GB. Here the bytes that are read are counted.
"""

import contextlib
import itertools
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from cifsel.data.photos.pieces import MAX_TAG_BYTES, Pieces
from cifsel.errors import UserError

Tags = Mapping[int, Any]

_START = b"Exif\0\0"
# Pillow finds it in a PNG's text as hex digits, below three lines.
_PNG_TEXT = "Raw profile type exif"
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_TIFF_HEADER = re.compile(rb"II\*\0|MM\0\*")
# More headers than a file has but by chance, and the size of the blocks that are looked at.
_MOST_BLOCKS, _BLOCK_BYTES = 8, 2 * MAX_TAG_BYTES
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def directory(block: bytes, offset: int | None = None) -> Tags:
    """Reads a directory of tags. A tag is decoded when it is asked for.

    Args:
      block: a TIFF file or EXIF block, from its byte order on.
      offset: of the directory in the block. None for the first one.

    Raises:
      Exception: of any kind, if the block is damaged, or its tags are too long together.
    """
    file = Pieces(block, min(len(block), MAX_TAG_BYTES))
    # The header of a TIFF of over 4 GB, which "+" tells, is twice as long.
    tags = ImageFileDirectory_v2(block[: 16 if block[2:3] == b"\x2b" else 8])
    file.seek(tags.next if offset is None else offset)
    tags.load(file)
    return tags


def check_exif_blocks(data: bytes) -> None:
    """Refuses a file with an EXIF block whose tags are too long together, wherever it lies.

    Raises:
      UserError: there is such a block.
    """
    for match in itertools.islice(_TIFF_HEADER.finditer(data), _MOST_BLOCKS):
        try:
            directory(data[match.start() : match.start() + _BLOCK_BYTES])
        except UserError:
            raise
        except Exception:  # The header may be part of the pixels.
            continue


def exif_block(image: Image.Image) -> bytes:
    """Returns an image's EXIF data from their byte order on, or b'' for none."""
    block = image.info.get("exif")
    if block is None and isinstance(text := image.info.get(_PNG_TEXT), str):
        with contextlib.suppress(ValueError):
            block = bytes.fromhex("".join(text.split("\n")[3:]))
    block = block if isinstance(block, bytes) else b""
    while block.startswith(_START):
        block = block.removeprefix(_START)
    return block


def to_upright(image: Image.Image, exif: Tags) -> Image.Transpose | None:
    """Returns how to turn an image that EXIF or XMP says not to be upright. None for not at all."""
    orientation: object = exif.get(ExifTags.Base.Orientation)
    if orientation is None:
        xmp = image.info.get("xmp", image.info.get("XML:com.adobe.xmp")) or b""
        match = _XMP_ORIENTATION.search(xmp if isinstance(xmp, bytes) else str(xmp).encode())
        orientation = int(match[1]) if match else None
    return _UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def time_taken(exif: Tags) -> datetime | None:
    """Reads the time in an EXIF directory, to the fraction of a second, with the zone if noted."""
    tags = ExifTags.Base.DateTimeOriginal, ExifTags.Base.SubsecTimeOriginal
    when, fraction, zone = (
        str(exif.get(tag, ""))[:64].strip("\0 ")
        for tag in (*tags, ExifTags.Base.OffsetTimeOriginal)
    )
    when += f".{fraction[:6] if fraction.isdecimal() else 0}"
    for text, form in ((when + zone, "%Y:%m:%d %H:%M:%S.%f%z"), (when, "%Y:%m:%d %H:%M:%S.%f")):
        with contextlib.suppress(ValueError):
            return datetime.strptime(text, form)
    return None
