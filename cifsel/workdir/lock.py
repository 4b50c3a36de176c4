"""One run at a time in a workdir."""

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from cifsel.errors import UserError
from cifsel.runtime import remote, sharding

NAME = "run.lock"


@contextlib.contextmanager
def alone(folder: epath.Path) -> Iterator[None]:
    """Keeps other runs out of a workdir, which is made unless it is there.

    The lock is the system's (flock), so that it ends with the process, however that ends; the file
    says whose it is. There is none on gs://, and none where a network file system or the user's
    rights do not allow it: there, nothing keeps two runs apart. Of several processes the first one
    takes it for all.

    Raises:
      UserError: another run is at work there; says which.
    """
    if remote.is_remote(folder):
        yield
        return
    path = Path(folder) / NAME
    held, holder = _take(path) if sharding.is_main() else (None, "")
    if sharding.largest(int(bool(holder))):
        raise UserError(
            f"workdir {folder} is in use by {holder or 'another run'}: wait until it has ended, or"
            " give another --workdir"
        )
    try:
        yield
    finally:
        if held is not None:
            with contextlib.suppress(OSError):
                path.unlink()  # While it is held: afterwards it may be another's.
            os.close(held)


def _take(path: Path) -> tuple[int | None, str]:
    """The file that holds the lock, if there is a lock to be had; and who else holds it."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:  # Whether that matters is for others to find out.
            return None, ""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), path.stat()):
                _sign(file)
                return file, ""
        except BlockingIOError:
            holder = os.read(file, 200).decode(errors="replace")
            os.close(file)
            return None, holder if holder and holder.isprintable() else "another run"
        except FileNotFoundError:
            pass
        except OSError:
            os.close(file)
            with contextlib.suppress(OSError):
                path.unlink()
            return None, ""
        os.close(file)  # Its last holder has ended in between, and has deleted it: once more.


def _sign(file: int) -> None:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    text = f"process {os.getpid()} on {socket.gethostname()} since {since}"
    with contextlib.suppress(OSError):  # No room on the disk: it is locked all the same.
        os.ftruncate(file, 0)
        os.write(file, text.encode())
