"""Opens the HDF5 file of a Keras model, and tells what other files are.

Keras 3 packs the HDF5 file of a model in a zip, the `.keras` file. It is read in memory: nothing is
extracted. What is in the zip beside it, such as the description of the layers, is not looked at.
"""

import contextlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from cifsel.errors import UserError, one_line
from cifsel.runtime import zips

# The largest published file, EfficientNetV2-L with classifier, has 480 MB.
MAX_BYTES = 2**30
# Trained weights hardly compress, and Keras does not try. Those of new layers may be zeros.
MAX_ZIP_RATIO, ANY_RATIO_BYTES = 4, 10_000_000
EXPECTED = "expected a Keras .h5, .weights.h5 or .keras file"

_IN_KERAS_ZIP = "model.weights.h5"
_PIECE_BYTES = 2**20
_ZIP_START = b"PK\x03\x04"
_EXPORT = "load the model in Keras and write it with model.save('name.keras')"
# How files of others begin.
_OTHERS = {
    b"\x80\x02": ("a Python pickle, as old PyTorch writes", _EXPORT),
    b"\x80\x04": ("a Python pickle", _EXPORT),
    b"\x93NUMPY": ("a NumPy array", _EXPORT),
    b"{": ("JSON, as TensorFlow.js writes", "export the model as Keras .h5 instead"),
    b"version https://git-lfs": (
        "a pointer of Git LFS, not the file",
        "fetch it with git lfs pull",
    ),
    b"<": ("a web page, not the file", "download it again"),
}


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[Path | IO[bytes], int]]:
    """Opens the HDF5 file of a Keras model.

    Args:
      path: a file of HDF5, or a `.keras` file.

    Yields:
      The path of the file, or the file in memory, and its size in bytes.

    Raises:
      UserError: it is no file, too large, or of another kind, which is named.
    """
    if not path.exists():
        raise UserError(f"{path}: no such weight file")
    if path.is_dir():
        raise UserError(
            f"{path}: not a readable HDF5 file but a folder, as TensorFlow saves models;"
            f" {EXPECTED}: {_EXPORT}"
        )
    if not path.is_file():  # Opening a pipe would wait without end.
        raise UserError(f"{path}: not a readable HDF5 file, nor any file; {EXPECTED}")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise UserError(
            f"{path}: {size / 1e6:,.0f} MB; expected a Keras file of {MAX_BYTES / 1e6:,.0f} at most"
        )
    with path.open("rb") as file:
        start = file.read(64)
        file.seek(0)
        content = _unzipped(file, path) if start.startswith(_ZIP_START) else None
    if content is not None:
        yield io.BytesIO(content), len(content)
        return
    _refuse_others(start, path)
    yield path, size


def _refuse_others(start: bytes, path: Path) -> None:
    kinds = [kind for beginning, kind in _OTHERS.items() if start.startswith(beginning)]
    if start[4:8] == b"TFL3":
        kinds = [("a TensorFlow Lite model", "export the model as Keras .h5 instead")]
    if kinds:
        what, advice = kinds[0]
        raise UserError(f"{path}: not a readable HDF5 file but {what}; {EXPECTED}: {advice}")


def _unzipped(file: IO[bytes], path: Path) -> bytes:
    """Returns the HDF5 file in a `.keras` file."""
    try:
        with zips.opened(file) as archive:
            names = archive.namelist()
            if _IN_KERAS_ZIP not in names:
                raise UserError(f"{path}: {_other_zip(names)}")
            return _member(archive, archive.getinfo(_IN_KERAS_ZIP), path)
    except UserError:
        raise
    except Exception as error:  # Damaged zips raise many kinds of exceptions.
        raise UserError(
            f"{path}: not a readable HDF5 file but a damaged zip ({one_line(error)}): fetch it"
            " again"
        ) from error


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> bytes:
    size = member.file_size
    if size > MAX_BYTES or size > max(ANY_RATIO_BYTES, MAX_ZIP_RATIO * member.compress_size):
        raise UserError(
            f"{path}: {member.filename} unpacks from {member.compress_size / 1e6:,.0f} MB to"
            f" {size / 1e6:,.0f}, as no weights do: do not trust this file"
        )
    with archive.open(member) as stream:
        # In pieces, zipfile gives no more bytes than the zip states.
        return b"".join(iter(lambda: stream.read(_PIECE_BYTES), b""))


def _other_zip(names: list[str]) -> str:
    """Says what a zip is that is no `.keras` file, and what to do."""
    inside = [name for name in names if name.lower().endswith((".h5", ".keras"))]
    if inside:
        return f"a zip with {inside[0]} in it, not a Keras file; unpack it and give {inside[0]}"
    if any(name.endswith("data.pkl") for name in names):
        return f"a PyTorch file; {EXPECTED}: weights of keras.applications have the same layers"
    if any(name.endswith(".npy") for name in names):
        return f"a NumPy .npz file; {EXPECTED}: {_EXPORT}"
    return f"a zip without {_IN_KERAS_ZIP}; {EXPECTED}"
