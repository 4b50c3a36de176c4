"""Keeps the images of CIFAR-100's 50 classes as arrays in one .npz file, which is quick to read.

The file may be damaged, or come from another machine. Nothing in it is unpickled. It is used only
if names, checksum, types and shapes of its arrays are those of a file that `write` wrote.
"""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from cifsel.errors import one_line
from cifsel.runtime import cache, remote, zips
from cifsel.runtime.paths import expanded
from cifsel.runtime.terminal import warn

# Raised whenever the arrays in the file change their meaning, so that older files are not read.
_FORMAT = 1
# More than all 60,000 images of CIFAR-100 take.
_MAX_BYTES = 2**28

Arrays = dict[str, np.ndarray]


def files(source: epath.Path, name: str, cache_dir: str | None) -> list[Path]:
    """Lists the files that may hold the arrays of a source, the better place first.

    Args:
      source: folder of the data, local or gs://.
      name: of the data, with its version.
      cache_dir: folder for arrays that cannot be beside the data. None means `cache.folder()`.
    """
    stem = f"cifsel-{name}-v{_FORMAT}"
    beside_data = [] if remote.is_remote(source) else [Path(source) / f"{stem}.npz"]
    folder = Path(expanded(cache_dir)) if cache_dir else cache.folder()
    # One cache folder serves many data folders, so the file's name has a key of the data folder.
    key = hashlib.sha256(os.fspath(source).encode()).hexdigest()[:8]
    return [*beside_data, folder / f"{stem}-{key}.npz"]


def read(candidates: list[Path]) -> Arrays | None:
    """Reads the first file that is whole, or returns None. Logs what is wrong with damaged ones."""
    for file in candidates:
        try:
            arrays = zips.read_arrays(file, _MAX_BYTES)
            checksum = str(arrays.pop("sha256", ""))
            _check(arrays)
            if checksum != _digest(arrays):
                raise ValueError("its content does not match its checksum")
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            warn(f"{file} is damaged ({one_line(error)}): reading the data again")
        else:
            return arrays
    return None


def _check(arrays: Arrays) -> None:
    """Raises ValueError unless names, types, shapes and ranges are those of a file of ours."""
    sizes = {name: array.size for name, array in arrays.items()}
    classes, groups = sizes.get("class_names", 0), sizes.get("coarse_names", 0)
    expected: dict[str, tuple[type, tuple[int, ...]]] = {
        "class_names": (np.str_, (classes,)),
        "coarse_names": (np.str_, (groups,)),
        "coarse_of": (np.int32, (classes,)),
    }
    for split in ("train", "test"):
        count = sizes.get(f"{split}_labels", 0)
        expected[f"{split}_images"] = (np.uint8, (count, 32, 32, 3))
        expected[f"{split}_labels"] = expected[f"{split}_ids"] = (np.int32, (count,))
    if arrays.keys() != expected.keys():
        raise ValueError(f"it holds {', '.join(sorted(arrays)) or 'nothing'}")
    for name, (kind, shape) in expected.items():
        if arrays[name].dtype.type is not kind or arrays[name].shape != shape:
            raise ValueError(f"{name} is {arrays[name].dtype} {arrays[name].shape}")
    for name, limit in (("train_labels", classes), ("test_labels", classes), ("coarse_of", groups)):
        if not (len(arrays[name]) and arrays[name].min() >= 0 and arrays[name].max() < limit):
            raise ValueError(f"{name} is not within 0 and {limit - 1}")


def write(arrays: Arrays, candidates: list[Path]) -> None:
    """Writes to the first place that can be written to. A file appears whole or not at all."""
    for file in candidates:
        # The cache folder comes last and may be created. The data folder is not ours to create. The
        # mode counts too, as root may write where nobody is meant to.
        beside_data = file is not candidates[-1]
        if beside_data and not (file.parent.is_dir() and file.parent.stat().st_mode & 0o222):
            continue
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        except OSError:
            continue
        try:
            with os.fdopen(handle, "wb") as stream:
                contents: dict[str, Any] = {"sha256": np.array(_digest(arrays)), **arrays}
                np.savez(stream, **contents)
            # mkstemp's mode 0600 would hide the file from other users of the data.
            Path(temporary).chmod(0o644)
            Path(temporary).replace(file)
        except OSError as error:
            warn(f"{file} cannot be written ({one_line(error)})")
            continue
        finally:
            Path(temporary).unlink(missing_ok=True)
        return
    warn(f"no place for a cache, tried {', '.join(map(str, candidates))}: reading on")


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes() if array.dtype.kind == "U" else array.data)
    return digest.hexdigest()
