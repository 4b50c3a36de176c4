"""Takes from a PNG what Pillow would refuse the whole photo for: long texts and colour profiles.

Pillow reads texts and profiles of at most 1 MB, which those of printers exceed. Texts are of no use
here, but for EXIF and XMP, and are passed over.
"""

import struct
import zlib

from cifsel.data.photos.pieces import MAX_PIECES

# The profiles of printers and displays have some MB.
MAX_PROFILE_BYTES = 16_000_000
# Pillow's limit (PngImagePlugin.MAX_TEXT_CHUNK).
_PILLOW_BYTES = 2**20

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_WANTED = {b"Raw profile type exif", b"XML:com.adobe.xmp"}
_HEAD, _CRC = 8, 4  # bytes before and after the data of a chunk


def without_extras(data: bytes) -> tuple[bytes, bytes | None]:
    """Leaves out the texts of a PNG that no one asks for, and a profile that Pillow would refuse.

    Args:
      data: a file of any format. What is no PNG stays as it is.

    Returns:
      The data, and the colour profile that was left out. None if it stays, or is longer than
      `MAX_PROFILE_BYTES`.
    """
    if not data.startswith(_SIGNATURE):
        return data, None
    kept, profile = [_SIGNATURE], None
    at, whole = len(_SIGNATURE), len(_SIGNATURE)
    for _ in range(MAX_PIECES):
        if at + _HEAD > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + _HEAD + length + _CRC
        extra = kind == b"iCCP" or kind in _TEXTS
        if extra and end <= len(data) and not _is_wanted(kind, data, at + _HEAD, end - _CRC):
            if kind == b"iCCP":
                packed = data[at + _HEAD : end - _CRC].partition(b"\0")[2][1:]
                profile = _unpacked(packed, MAX_PROFILE_BYTES)
            kept.append(data[whole:at])
            whole = end
        at = end
    if whole == len(_SIGNATURE):
        return data, None
    return b"".join([*kept, data[whole:]]), profile


def _is_wanted(kind: bytes, data: bytes, start: int, end: int) -> bool:
    """True for a text or profile that is of use, and that Pillow reads."""
    name, _, rest = data[start : min(end, start + 100)].partition(b"\0")
    if kind in _TEXTS and name not in _WANTED:
        return False
    packed_at = start + len(name) + 2  # the 0 that ends the name, and the way of compression
    if kind == b"iTXt":
        # Pillow takes what is not compressed whole. A language and a translation may come first.
        is_packed = rest[:1] == b"\1"
        return not is_packed and end - start < _PILLOW_BYTES
    if kind == b"tEXt":
        return end - start < 2 * MAX_PROFILE_BYTES
    return _unpacked(data[packed_at:end], _PILLOW_BYTES) is not None


def _unpacked(packed: bytes, most: int) -> bytes | None:
    """Decompresses at most that many bytes. None for more of them, or for damage."""
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(packed, most)
    except zlib.error:
        return None
    return None if unpacker.unconsumed_tail else plain
