"""A lock on a workdir: one run at a time."""

import contextlib
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from etils import epath
from filelock import FileLock, Timeout

from cifsel.errors import UserError
from cifsel.runtime import ending, regular, remote, sharding

NAME = "run.lock"


@contextlib.contextmanager
def alone(folder: epath.Path) -> Iterator[None]:
    """Keeps other runs out of a workdir, which is made unless it is there.

    The operating system holds the lock, so it ends with the process, however that ends. The file
    `NAME` says which process holds it. There is no lock on gs://, on network file systems without
    locks, and in folders that cannot be written. There, nothing keeps two runs apart. Of several
    processes of a run, the first takes the lock for all.

    Raises:
      UserError: another run holds the lock. The message says which.
    """
    if remote.is_remote(folder):
        yield
        return
    path = Path(folder) / NAME
    lock, holder = _acquire(path) if sharding.is_main() else (None, "")
    if sharding.largest(int(bool(holder))):
        raise UserError(
            f"workdir {folder} is in use by {holder or 'another run'}: wait until it has ended, or"
            " give another --workdir"
        )
    if lock is not None:
        ending.tidy_with(path.unlink)
    try:
        yield
    finally:
        if lock is not None:
            ending.forget(path.unlink)
            # Deleted while the lock is held, since afterwards the file may be another run's.
            # Windows deletes no open file. There, filelock does it when it releases the lock.
            with contextlib.suppress(OSError):
                path.unlink()
            lock.release()


def _acquire(path: Path) -> tuple[FileLock | None, str]:
    """The lock, None if the folder allows none, and who else holds it, '' for nobody."""
    # It tries a few times, in case the last holder deletes the file between opening and locking.
    lock = FileLock(path, timeout=0.2, poll_interval=0.05, on_acquired=_sign)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_foreign(path)
        lock.acquire()
    except Timeout:
        return None, _holder(path)
    except OSError:  # The run itself says so, if it matters.
        return None, ""
    return lock, ""


def _remove_foreign(path: Path) -> None:
    """Removes what no run makes: a link, a second name of another file, a pipe or a device.

    The holder's name would otherwise be written into the file behind it.
    """
    with contextlib.suppress(FileNotFoundError):
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) and (
            not stat.S_ISREG(status.st_mode) or status.st_nlink > 1
        ):
            path.unlink()


def _sign(file: int) -> None:
    """Writes into the lock file who holds it."""
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    text = f"\nprocess {os.getpid()} on {socket.gethostname()} since {since}"
    with contextlib.suppress(OSError):  # The disk is full. The lock holds all the same.
        os.ftruncate(file, 0)
        os.write(file, text.encode())


def _holder(path: Path) -> str:
    """Reads who holds the lock."""
    text = b""
    with contextlib.suppress(OSError, ValueError), regular.opened(path) as file:
        file.seek(1)  # Windows lets nobody else read the first byte, which is the locked one.
        text = file.read(200)
    holder = text.decode(errors="replace")
    return holder if holder and holder.isprintable() else "another run"
