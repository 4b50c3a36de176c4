"""The folder of a run: whose it is, and files that are whole or not there."""

import contextlib
import io
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any

import jax
import numpy as np
from etils import epath

from cifsel import config as config_lib
from cifsel.errors import MAKE_ROOM, UserError, one_line
from cifsel.runtime import remote, sharding, zips
from cifsel.runtime.paths import exists, is_file

CONFIG, METRICS, PREDICTIONS = "config.json", "metrics.json", "predictions.npz"
CACHE = "cache"
BEST = "best.json"  # of a comparison: leads to the run of the better model
# A run of two hundred epochs has a tenth of either.
MAX_JSON_BYTES, MAX_ARRAY_BYTES, MAX_DEPTH = 16_000_000, 256_000_000, 20


def check(workdir: epath.Path, config: dict[str, Any]) -> None:
    """Makes sure that a run with this config may use the folder, and can write there.

    Raises:
      UserError: the folder cannot be written, or holds a run with another config.
    """
    make(workdir, "workdir")
    if not (workdir / CONFIG).exists():
        return
    fields = config_lib.differences(read_json(workdir / CONFIG), config)
    if fields:
        raise UserError(
            f"workdir {workdir} holds a run with another config ({'; '.join(fields)}):"
            " give another --workdir, or delete this one"
        )


def make(folder: epath.Path, flag: str) -> None:
    """Makes a folder, unless it is there, and makes sure that it can be written.

    Raises:
      UserError: it cannot; the message names the flag that it was given with.
    """
    remote.reach(folder)
    # gcsfs has exceptions of its own.
    failures = Exception if remote.is_remote(folder) else OSError
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try_writing(folder)
    except failures as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise UserError(
            f"{flag} {folder} cannot be written ({reason}): give another --{flag}"
        ) from None


def try_writing(folder: epath.Path) -> None:
    """Writes an empty file into a folder and deletes it; raises whatever that raises."""
    probe = folder / f".{uuid.uuid4().hex}"
    probe.write_bytes(b"")
    probe.unlink()


def read_json(path: epath.Path) -> dict[str, Any]:
    """Reads a file that `write_json` wrote.

    Raises:
      UserError: there is no such file, or it holds something else.
    """
    try:
        if not is_file(path):
            raise ValueError("not a regular file" if exists(path) else "no such file")
        if path.stat().length > MAX_JSON_BYTES:
            raise ValueError(f"more than {MAX_JSON_BYTES / 1e6:.0f} MB")
        content = json.loads(path.read_bytes())
        _check_json(content)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is not JSON as cifsel writes it ({one_line(error)}): delete it, or its folder"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not an object: delete it")
    return content


def _check_json(content: Any) -> None:
    """Raises ValueError for what Python's JSON has and files of ours have not."""
    level, depth = [content], 0
    while level := [
        below
        for one in level
        if isinstance(one, dict | list)
        for below in (one.values() if isinstance(one, dict) else one)
    ]:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
    json.dumps(content, allow_nan=False)


@contextlib.contextmanager
def _replacing(path: epath.Path) -> Iterator[epath.Path]:
    """A file to write to, which becomes `path` when it is whole."""
    if remote.is_remote(path):
        # It appears when it is closed. A second name would only be copied, byte by byte.
        yield path
        return
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):  # NumPy's has no number.
            raise UserError(
                f"{path} could not be written ({error.strerror or one_line(error)}):"
                f" {MAKE_ROOM}, and give the same command again"
            ) from error
        raise


def write_bytes(path: epath.Path, content: bytes) -> None:
    """Writes a file that is whole or not there, whenever the process dies.

    Of several processes the first one writes, as all have the same to write.

    Raises:
      UserError: there is no room, or no right to write.
    """
    if not sharding.is_main():
        return
    with _replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: epath.Path, content: dict[str, Any]) -> None:
    """Writes an object; NaN and infinity, which JSON does not have, are a ValueError."""
    write_bytes(path, json.dumps(content, indent=2, allow_nan=False).encode())


def write_npz(path: epath.Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes arrays by name, compressed."""
    buffer = io.BytesIO()
    # The array that it takes one of them for is an option of its own, and since NumPy 2 only.
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def read_npz(path: epath.Path) -> dict[str, np.ndarray]:
    """Reads what `write_npz` wrote.

    Raises:
      OSError: there is no such file.
      ValueError: it is damaged, or of something else.
    """
    return zips.read_arrays(path, MAX_ARRAY_BYTES)


def cached_array(
    run: epath.Path,
    name: str,
    compute: Callable[[], np.ndarray],
    expected: Callable[[], jax.ShapeDtypeStruct],
) -> np.ndarray:
    """Computes an array, or reads what an earlier, interrupted process of this run computed.

    The folder belongs to one config (see `check`), so that the file holds this very array, if it
    is whole.

    Args:
      run: the folder.
      name: of the array.
      compute: gives it.
      expected: says its shape and dtype; asked only if there is a file.
    """
    if jax.process_count() > 1:
        return compute()  # All have a part in it, and the others may not see this one's files.
    path = run / CACHE / f"{name}.npy"
    if is_file(path):
        like = expected()
        with contextlib.suppress(Exception):  # Damage comes as many kinds of them.
            array = _read_array(path)
            if (array.shape, array.dtype) == (like.shape, like.dtype):
                return array
    array = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    if remote.is_remote(path):
        # In one piece: a file on gs:// appears when it is closed, even by an exception.
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        path.write_bytes(buffer.getbuffer())
        return array
    with _replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)
    return _read_array(path)


def _read_array(path: epath.Path) -> np.ndarray:
    """Reads an .npy file; a local one page by page as needed, so that it takes no memory."""
    if remote.is_remote(path):
        return np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def remove_cached(run: epath.Path) -> None:
    """Deletes what `cached_array` kept: a finished run needs it no longer."""
    if sharding.is_main() and (run / CACHE).exists():
        (run / CACHE).rmtree()


def default(name: str, recipe: str) -> str:
    """The folder of a run that was not given one."""
    return str(PurePath("runs") / f"{name}-{recipe}")
