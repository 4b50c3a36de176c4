"""The images of CIFAR-100's 50 classes as arrays in one .npz file, so that reading them is quick.

The file may come from another machine, or be damaged: it is read without unpickling anything, and
believed only if content, checksum, types and shapes are those of a file that `write` wrote.
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
from cifsel.terminal import warn

# Raised whenever the arrays in the file change their meaning, so that older files are not read.
_FORMAT = 1
# Of all 60,000 images there are in CIFAR-100, and more.
_MAX_BYTES = 2**28

Arrays = dict[str, np.ndarray]


def files(source: epath.Path, name: str, cache_dir: str | None) -> list[Path]:
    """Where the arrays of this source may be kept, the better place first.

    Args:
      source: folder of the data, local or gs://.
      name: of the data, with its version.
      cache_dir: for those that cannot be beside the data; None means `cache.folder()`.
    """
    stem = f"cifsel-{name}-v{_FORMAT}"
    found = []
    if not remote.is_remote(source):
        found.append(Path(source) / f"{stem}.npz")
    folder = Path(expanded(cache_dir)) if cache_dir else cache.folder()
    # One cache folder serves many data folders, so the file's name says which.
    key = hashlib.sha256(os.fspath(source).encode()).hexdigest()[:8]
    return [*found, folder / f"{stem}-{key}.npz"]


def read(candidates: list[Path]) -> Arrays | None:
    """The arrays of the first file that is whole, or None; says of each other one what is wrong."""
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
    """Raises ValueError unless arrays are of the kinds that belong in the file, and agree."""
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
    """Writes to the first place that can be written, whole or not at all."""
    for file in candidates:
        # The data folder is not ours to create; the cache folder, which comes last, is. The mode is
        # asked because root may write where nobody is meant to.
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
            # mkstemp's 0600 would hide it from the data's other users.
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
