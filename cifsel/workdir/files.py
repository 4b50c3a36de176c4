"""The files of a workdir. Each is complete or not there, whenever the process dies.

Files may come from somebody else's run. Reading them is bounded in size and depth, and unpickles
nothing.
"""

import contextlib
import io
import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any

import jax
import numpy as np
from etils import epath

from cifsel import config as config_lib
from cifsel.errors import MAKE_ROOM, UserError, one_line
from cifsel.runtime import regular, remote, sharding, zips
from cifsel.runtime.paths import exists, is_file
from cifsel.runtime.terminal import say, warn

CONFIG, METRICS, PREDICTIONS = "config.json", "metrics.json", "predictions.npz"
SPLIT = "split.csv"  # of a user's own images
CACHE = "cache"
BEST = "best.json"  # of a comparison, names the run of the better model
# A run of two hundred epochs has a tenth of these sizes.
MAX_JSON_BYTES, MAX_ARRAY_BYTES, MAX_DEPTH = 16_000_000, 256_000_000, 20


def check(workdir: epath.Path, config: dict[str, Any]) -> bool:
    """Makes sure that a run with this config may use the folder, and can write there.

    Returns:
      Whether the run is finished. Then the folder need not be writable.

    Raises:
      UserError: the folder cannot be written, or holds a run with another config.
    """
    remote.reach(workdir)
    for name, recorded in recorded_configs(workdir).items():
        if fields := config_lib.differences(recorded, config):
            raise UserError(
                f"workdir {workdir} holds a run with another config ({'; '.join(fields)} in"
                f" {name}): give another --workdir, or delete this one"
            )
    finished = exists(workdir / METRICS)
    if not finished:
        make(workdir, "workdir")
    return finished


def recorded_configs(workdir: epath.Path) -> dict[str, dict[str, Any]]:
    """The configs that config.json and metrics.json have of a run, by the name of the file.

    Raises:
      UserError: one of the files is damaged.
    """
    configs = {}
    if exists(workdir / CONFIG):
        configs[CONFIG] = read_json(workdir / CONFIG)
    if exists(workdir / METRICS):
        config = read_json(workdir / METRICS).get("config")
        if not isinstance(config, dict):
            raise UserError(
                f"{workdir / METRICS} has no config: expected what a run wrote; run it again in a"
                " new folder"
            )
        configs[METRICS] = config
    return configs


def make(folder: epath.Path, flag: str) -> None:
    """Makes a folder, unless it is there, and makes sure that it can be written.

    Raises:
      UserError: it cannot. The message names the flag that gave the folder.
    """
    remote.reach(folder)
    # gcsfs has its own classes of exceptions.
    failures = Exception if remote.is_remote(folder) else OSError
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try_writing(folder)
    except failures as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise UserError(
            f"{flag} {folder} cannot be written ({reason}): give another --{flag}"
        ) from None


def subfolder(workdir: epath.Path, name: str) -> epath.Path:
    """Makes a folder in a workdir, unless it is there. It may be a link to a folder elsewhere.

    Raises:
      UserError: it cannot be made, such as for a link to a disk that is not there.
    """
    folder = workdir / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be made ({error.strerror or one_line(error)}): remove what is there,"
            " or make the folder writable"
        ) from error
    return folder


def try_writing(folder: epath.Path) -> None:
    """Writes an empty file into a folder and deletes it. Raises whatever that raises."""
    probe = folder / f".{uuid.uuid4().hex}"
    probe.write_bytes(b"")
    probe.unlink()


def read_json(path: epath.Path) -> dict[str, Any]:
    """Reads a file that `write_json` wrote.

    Raises:
      UserError: there is no such file, or it holds something else.
    """
    try:
        content = json.loads(regular.content(path, MAX_JSON_BYTES))
        check_json(content)
    except FileNotFoundError:
        raise UserError(f"{path} is not there: give the folder of a run that has it") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is not JSON as cifsel writes it ({one_line(error)}): delete it, or its folder"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not an object: delete it")
    return content


def check_json(content: Any) -> None:
    """Raises ValueError for deep nesting, and for NaN and infinity, which Python's JSON allows."""
    level, depth = [content], 0
    while level := [
        child
        for node in level
        if isinstance(node, dict | list)
        for child in (node.values() if isinstance(node, dict) else node)
    ]:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
    json.dumps(content, allow_nan=False)


@contextlib.contextmanager
def _replacing(path: epath.Path) -> Iterator[epath.Path]:
    """A temporary file, which is renamed to `path` when it is complete."""
    if remote.is_remote(path):
        # A file on gs:// appears when it is closed. Renaming it would copy it byte by byte.
        yield path
        return
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):  # NumPy's has no `strerror`.
            raise UserError(
                f"{path} could not be written ({error.strerror or one_line(error)}):"
                f" {MAKE_ROOM}, and give the same command again"
            ) from error
        raise


def write_bytes(path: epath.Path, content: bytes) -> None:
    """Writes a file that is complete or not there, whenever the process dies.

    Of several processes, only the first one writes, as all have the same content.

    Raises:
      UserError: there is no room, or no right to write.
    """
    if not sharding.is_main():
        return
    with _replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: epath.Path, content: dict[str, Any]) -> None:
    """Writes an object. Raises ValueError for NaN and infinity, which JSON does not have."""
    write_bytes(path, json.dumps(content, indent=2, allow_nan=False).encode())


def write_npz(path: epath.Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes arrays by name, compressed."""
    buffer = io.BytesIO()
    # NumPy 2's stub takes one of the arrays for the option `allow_pickle`.
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def read_npz(path: epath.Path) -> dict[str, np.ndarray]:
    """Reads what `write_npz` wrote.

    Raises:
      OSError: there is no such file.
      ValueError: it is damaged, or no such file.
    """
    return zips.read_arrays(path, MAX_ARRAY_BYTES)


def cached_array(
    run: epath.Path,
    name: str,
    compute: Callable[[], np.ndarray],
    expected: Callable[[], jax.ShapeDtypeStruct],
) -> np.ndarray:
    """Computes an array, or reads it if an interrupted process of this run has computed it.

    `check` makes sure that a folder belongs to one config. So a complete file holds this array.

    Args:
      run: the folder.
      name: of the array.
      compute: computes the array.
      expected: gives its shape and dtype. Called only if there is a file.
    """
    if jax.process_count() > 1:
        return compute()  # All take part in it, and may not see each other's files.
    path = run / CACHE / f"{name}.npy"
    if is_file(path):
        like = expected()
        with contextlib.suppress(Exception):  # Damaged files raise many classes.
            array = _read_array(path)
            if (array.shape, array.dtype) == (like.shape, like.dtype):
                return array
    array = compute()
    subfolder(run, CACHE)
    if remote.is_remote(path):
        # Written in one piece: a file on gs:// appears when it is closed, even by an exception.
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        path.write_bytes(buffer.getbuffer())
        return array
    with _replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)
    return _read_array(path)


def _read_array(path: epath.Path) -> np.ndarray:
    """Reads an .npy file. A local file is memory-mapped."""
    if remote.is_remote(path):
        return np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def remove_cached(run: epath.Path) -> None:
    """Deletes the files of `cached_array`, which a finished run needs no longer.

    The folder may be a link to another disk. Then only the link is deleted, since what is behind
    it may be more than this run's. The run is finished, even if nothing can be deleted.
    """
    folder = run / CACHE
    if not sharding.is_main():
        return
    try:
        if not remote.is_remote(folder) and Path(folder).is_symlink():
            target = os.readlink(folder)  # noqa: PTH115 - the text, which need not be a path
            folder.unlink()
            say(f"{folder} was a link to {target}: its arrays are no longer needed and stay there")
        elif folder.exists():
            folder.rmtree()
    except OSError as error:
        warn(f"{folder} could not be deleted ({error.strerror or one_line(error)}): delete it")


def default(name: str, recipe: str) -> str:
    """The workdir of a run without --workdir."""
    return str(PurePath("runs") / f"{name}-{recipe}")
