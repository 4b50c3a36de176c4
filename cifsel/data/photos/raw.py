"""Tells the raw files of cameras. Pillow would answer from the small preview that some hold."""

import contextlib

from cifsel.data.photos.tags import Tags, directory
from cifsel.errors import UserError

# How the files begin that are no TIFF.
_BEGINNINGS = {
    b"IIRO": "Olympus",
    b"IIRS": "Olympus",
    b"MMOR": "Olympus",
    b"IIU\0": "Panasonic",
    b"FUJIFILMCCD-RAW": "Fujifilm",
    b"FOVb": "Sigma",
    b"\0MRM": "Minolta",
    b"II\x1a\0\0\0HEAPCCDR": "Canon CRW",
    b"IIII": "Phase One",
}
_CR3_BRAND = b"crx "
_SUBFILE_TYPE, _PHOTOMETRIC, _SUB_DIRECTORIES, _DNG_VERSION = 254, 262, 330, 50706
_SENSOR_VALUES = {32803, 34892}  # photometric: of a colour filter array, and linear ones
_IS_REDUCED = 1  # bit of the type of a subfile
_ADVICE = "export it as JPEG or TIFF with the camera's program"


def refuse_raw(data: bytes) -> None:
    """Refuses a camera's raw file, and a TIFF whose first image is a small copy of another one.

    Raises:
      UserError: the data are such a file.
    """
    for beginning, maker in _BEGINNINGS.items():
        if data.startswith(beginning):
            raise UserError(f"a camera's raw file ({maker}), not a finished photo: {_ADVICE}")
    if data[4:8] == b"ftyp" and data[8:12] == _CR3_BRAND:
        raise UserError(f"a camera's raw file (Canon CR3), not a finished photo: {_ADVICE}")
    if data[:2] not in (b"II", b"MM"):
        return
    kind = "Canon CR2" if data[8:10] == b"CR" and data[:2] == b"II" else ""
    # Pillow says what is wrong with a damaged TIFF.
    with contextlib.suppress(Exception):
        kind = kind or _kind(data, directory(data))
    if kind:
        raise UserError(
            f"a camera's raw file ({kind}), of which only a small preview could be used: {_ADVICE}"
        )


def _kind(data: bytes, first: Tags) -> str:
    """Names the kind of raw file. '' for a usual TIFF."""
    if _DNG_VERSION in first:
        return "DNG"
    below = first.get(_SUB_DIRECTORIES) or ()
    offsets = below if isinstance(below, tuple) else (below,)
    directories = [first, *(directory(data, offset) for offset in offsets[:8])]
    if any(tags.get(_PHOTOMETRIC) in _SENSOR_VALUES for tags in directories):
        return "values of a sensor"
    is_reduced = int(first.get(_SUBFILE_TYPE) or 0) & _IS_REDUCED
    return "its first image is a reduced one" if is_reduced else ""
