"""Finds weight files: in the user's folder, in the cache, or on Keras's server.

A file from the server is verified before it gets its name in the cache. It is verified again
whenever it is taken from there.
"""

import hashlib
import http.client
import logging
import os
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

from etils import epath
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from cifsel.errors import UserError, one_line
from cifsel.models.weights import h5_file, keras_h5
from cifsel.models.weights.catalogue import PublishedFile, published
from cifsel.models.weights.containers import EXPECTED
from cifsel.runtime import cache, remote
from cifsel.runtime.console import console
from cifsel.runtime.paths import expanded
from cifsel.runtime.terminal import warn

TIMEOUT_S = 30.0
CHUNK_BYTES = 2**20
# Over twice the largest published file (EfficientNetV2-L, 480 MB).
MAX_BYTES = 2**30

logger = logging.getLogger(__name__)


def cache_dir() -> Path:
    """The folder of downloaded weights."""
    return cache.folder() / "weights"


def find_weights(
    model: str,
    *,
    alpha: float,
    resolution: int,
    top: bool,
    weights_dir: str | None = None,
    allow_download: bool = True,
) -> Path:
    """Finds the published weights of a model, fetching them if they are nowhere yet.

    Looks in the user's own folder (`weights_dir`, else the environment's CIFSEL_WEIGHTS), then in
    the cache, then downloads into the cache. A file in the user's own folder is used as it is. One
    that was downloaded must be the published one.

    Args:
      model: 'mobilenet' or 'efficientnetv2-' and b0 to b3, s, m or l.
      alpha: MobileNet's width.
      resolution: in pixels, at which MobileNet was trained.
      top: with the ImageNet classifier.
      weights_dir: the user's own folder, local or gs://.
      allow_download: False stops before the network.

    Returns:
      A local file.

    Raises:
      UserError: nothing is published for these arguments, the folder does not exist, the file is
        nowhere and cannot be downloaded, or the downloaded file is not the published one.
    """
    file = published(model, alpha=alpha, resolution=resolution, top=top)
    field, own = "weights_dir", weights_dir
    if not own:
        field, own = "CIFSEL_WEIGHTS", os.environ.get("CIFSEL_WEIGHTS")
    looked = []
    if own:
        looked.append(f"{field} {own}")
        if path := _from_folder(own, field, file.name):
            _log_identity(path, file)
            return path
    cached = cache_dir() / file.name
    looked.append(f"the cache {cached.parent}")
    if cached.is_file():
        try:
            _verify(cached, file)
            return cached
        except UserError as error:
            warn(f"{error}; fetching it again")
    why = "downloads are off"
    if allow_download:
        try:
            logger.info("weights: %s -> %s", file.url, cached.parent)
            _download(file, cached)
            return cached
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = f"the download failed ({one_line(error)})"
    raise UserError(
        f"weights {file.name} are not in {' nor in '.join(looked)}, and {why}: put the file"
        f" from {file.url} in a folder and pass it as weights_dir, or set CIFSEL_WEIGHTS to it"
    )


def use_file(path: str) -> Path:
    """Takes a weight file that the user names, as it is, with its hash logged.

    Args:
      path: local, or on gs://, from where the file is copied to the cache.

    Returns:
      A local file.

    Raises:
      UserError: there is no such file, or it is not a Keras weight file.
    """
    remote.reach(path)
    folder, _, name = path.rpartition("/")
    local = _copy_of_remote(folder, name) if remote.is_remote(path) else Path(expanded(path))
    if local is None or not os.path.lexists(local):
        raise UserError(f"{path}: no such weight file; {EXPECTED}")
    _log_identity(local, None)
    return local


def _from_folder(folder: str, field: str, name: str) -> Path | None:
    """Returns the named file of the user's folder, as a local file. None if it is not there."""
    remote.reach(folder)
    if remote.is_remote(folder):
        return _copy_of_remote(folder, name)
    local = Path(expanded(folder))
    if not os.path.isdir(local):  # noqa: PTH112 - takes names that cannot be
        raise UserError(f"{field}={folder} is not a folder; expected one with {name} in it")
    return local / name if (local / name).is_file() else None


def _copy_of_remote(folder: str, name: str) -> Path | None:
    """Copies a file from a gs:// folder to the cache, unless a copy as new is there already."""
    # A folder of its own: other folders have files of the same name, and so has the cache.
    place = hashlib.sha256(folder.encode()).hexdigest()[:12]
    local = cache_dir() / "copies" / place / name
    try:
        distant = epath.Path(folder) / name
        if not distant.exists():
            return None
        there = distant.stat()
        if local.is_file():
            here = local.stat()
            if here.st_size == there.length and here.st_mtime >= (there.mtime or 0):
                return local
        with distant.open("rb") as source:
            _write(source, there.length, local, lambda _: None)
    # Each of epath's file systems has exceptions of its own.
    except Exception as error:
        raise UserError(
            f"{folder}/{name} cannot be read ({one_line(error)}); check the address and your"
            " access to it, or use a local folder"
        ) from error
    return local


def _log_identity(path: Path, file: PublishedFile | None) -> None:
    """Logs the hash of a user's own file, and whether it is the published one."""
    sha256 = keras_h5.tensors_sha256(h5_file.read_tensors(path))
    logger.info("weights: %s, SHA-256 of its tensors %s", path, sha256)
    if file and file.tensors_sha256 and sha256 != file.tensors_sha256:
        warn(
            f"{path}: not the published tensors (SHA-256 {sha256}, published"
            f" {file.tensors_sha256}); used all the same"
        )
    if file and file.md5 and (md5 := _md5(path)) != file.md5:
        warn(
            f"{path}: not the published file byte for byte (MD5 {md5}, published {file.md5}), which"
            " may only mean that it was written anew; used all the same"
        )


def _verify(path: Path, file: PublishedFile) -> None:
    """Raises UserError unless `path` has the hashes of the published file."""
    if file.md5 and (md5 := _md5(path)) != file.md5:
        raise UserError(f"{path}: MD5 is {md5}; expected {file.md5} as Keras publishes it")
    sha256 = keras_h5.tensors_sha256(h5_file.read_tensors(path))
    if file.tensors_sha256 and sha256 != file.tensors_sha256:
        raise UserError(
            f"{path}: SHA-256 of its tensors is {sha256}; expected {file.tensors_sha256}"
        )
    logger.info("weights: %s, SHA-256 of its tensors %s", path, sha256)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _download(file: PublishedFile, target: Path) -> None:
    """Downloads and verifies a file. `target` appears only when it is complete and right."""

    def check(arrived: Path) -> None:
        try:
            _verify(arrived, file)
        except UserError as error:
            reason = str(error).replace(str(arrived), file.url)
            raise UserError(f"{reason}: nothing was kept; try again later") from None

    request = urllib.request.Request(file.url, headers={"User-Agent": "cifsel"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        _write(response, int(response.headers["Content-Length"] or 0), target, check)


def _write(source: IO[bytes], total: int, target: Path, check: Callable[[Path], None]) -> None:
    """Copies `total` bytes (0: unknown) to a new file beside `target`, checks it, moves it there.

    Raises:
      OSError: `source` ended early or never, or the disk refuses.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    arrived = Path(name)
    try:
        with os.fdopen(handle, "wb") as sink, _progress() as progress:
            task = progress.add_task(target.name, total=total or None)
            size = 0
            while chunk := source.read(CHUNK_BYTES):
                size += sink.write(chunk)
                if size > MAX_BYTES:
                    raise OSError(f"more than {MAX_BYTES} bytes")
                progress.update(task, completed=size)
        if total and size != total:
            raise OSError(f"ended after {size} of {total} bytes")
        check(arrived)
        # Temporary files are private, but a cache may be shared.
        arrived.chmod(0o644)
        arrived.replace(target)
    finally:
        arrived.unlink(missing_ok=True)


def _progress() -> Progress:
    """A bar over the bytes of a file, which leaves nothing behind."""
    columns = BarColumn(), DownloadColumn(), TimeRemainingColumn()
    # Without a terminal a transient bar would leave empty lines in the log.
    return Progress(
        TextColumn("{task.description}", markup=False),
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
