"""Who takes part in a run of several processes: all are waited for, and none may vanish unseen.

JAX's own service ends a process whose peers are missing with a stack trace that does not say which,
and finds out up to 100 seconds after one has died. So the processes of an explicit host:port first
meet here: all connect to process 0, and stay connected for the whole run. A connection that breaks
means that a process is gone, and the others end at once, with a line that names it.
"""

import atexit
import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator

from cifsel.errors import UserError
from cifsel.runtime.signals import INTERRUPTED, TRY_AGAIN, Interrupted

_RETRY = 0.2  # seconds
_GRACE = 3.0  # seconds
_WORD = 64  # bytes of the longest message


@contextlib.contextmanager
def together(host: str, port: int, processes: int, process: int, timeout: float) -> Iterator[None]:
    """Waits until all processes are there, and watches over them within the block.

    A process that leaves the block in good order, finished or stopped with everything saved, is not
    missed; one that fails in it ends the others.

    Args:
      host: of process 0.
      port: on which process 0 listens.
      processes: how many there are.
      process: which one this is.
      timeout: seconds to wait for the others.

    Raises:
      UserError: some are missing; says which.
    """
    if process == 0:
        peers = _gather(port, processes, timeout)
        _tell(peers, "go")
    else:
        peers = {0: _join(host, port, processes, process, timeout)}
    failed = threading.Event()
    for number, peer in peers.items():
        peer.settimeout(None)
        # A machine that has lost its power closes no connection.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        threading.Thread(target=_watch, args=(number, peers, failed), daemon=True).start()
    try:
        yield
    except Interrupted:
        _tell(peers, "done")
        raise
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, UserError | KeyboardInterrupt):
            failed.set()
        # Others may be about to fail for the same reason. Or it is a sum in which a lost process
        # has no part: `_watch` knows which one.
        time.sleep(0 if isinstance(error, KeyboardInterrupt) else _GRACE)
        failed.set()
        _tell(peers, f"gone {process}")
        # Once the error is told: JAX would first wait five minutes for the others.
        atexit.register(_leave, error)
        raise
    _tell(peers, "done")


def _leave(error: BaseException) -> None:
    """Ends the process as `error` would, with the status that `command.guarded` gives it."""
    from cifsel.runtime import (
        failures,  # It asks, by way of others, this module for who takes part.
    )

    sys.stdout.flush()
    sys.stderr.flush()
    if isinstance(error, Exception):
        known = failures.explained(error)
        os._exit(known[1] if known else 1)
    os._exit(INTERRUPTED)


def _gather(port: int, processes: int, timeout: float) -> dict[int, socket.socket]:
    """Process 0's connections to the others, by their numbers."""
    peers: dict[int, socket.socket] = {}
    until = time.monotonic() + timeout
    try:
        server = socket.create_server(("", port), backlog=processes)
    except OSError as error:
        raise UserError(
            f"config.distributed: port {port} of this machine cannot be used"
            f" ({error.strerror}): give another, to all processes"
        ) from error
    with server:
        while len(peers) < processes - 1:
            server.settimeout(max(until - time.monotonic(), 0.01))
            try:
                peer, _ = server.accept()
                peer.settimeout(10)
                number, theirs = map(int, _hear(peer).split())
            except (TimeoutError, ValueError, OSError):
                if time.monotonic() < until:
                    continue  # Whatever that was, it was no process of a run.
                missing = _listed(set(range(1, processes)) - peers.keys())
                _tell(peers, f"missing {missing}")
                raise UserError(
                    f"{missing} of {processes} did not start within {timeout:g} s: start all"
                    " with the same config.distributed and config.processes, each with its own"
                    " config.process"
                ) from None
            if theirs != processes or number in peers or not 0 < number < processes:
                _tell({number: peer} | peers, "missing agreement between the processes")
                raise UserError(
                    f"a process calls itself config.process={number} of"
                    f" config.processes={theirs}; expected another of {processes}, from 1 on"
                )
            peers[number] = peer
    return peers


def _join(host: str, port: int, processes: int, process: int, timeout: float) -> socket.socket:
    """The connection to process 0."""
    until = time.monotonic() + timeout
    while True:
        try:
            peer = socket.create_connection((host, port), timeout=5)
            break
        except OSError as error:
            if time.monotonic() > until:
                raise UserError(
                    f"process 0 of {processes} was not found at {host}:{port} within"
                    f" {timeout:g} s ({error.strerror or error}): start it too, or correct"
                    " config.distributed"
                ) from None
            time.sleep(_RETRY)
    peer.sendall(f"{process} {processes}".encode().ljust(_WORD))
    peer.settimeout(timeout + 10)
    with contextlib.suppress(OSError):
        answer = _hear(peer)
        if answer == "go":
            return peer
        raise UserError(f"process 0 of {processes} has given up: {answer or 'it is gone'}")
    raise UserError(f"process 0 of {processes} is gone")


def _watch(number: int, peers: dict[int, socket.socket], failed: threading.Event) -> None:
    """Ends this process when another does that has not said that it is done.

    Not so one that has failed: it has something to say of its own.
    """
    word = ""
    with contextlib.suppress(OSError):
        word = _hear(peers[number])
    if word == "done" or failed.is_set():
        return
    gone = word.removeprefix("gone ") or number  # Process 0 says of whom it knows.
    _tell(peers, f"gone {gone}")
    sys.stderr.write(
        f"error: process {gone} is gone: give all commands again, which go on from the last"
        " checkpoint\n"
    )
    sys.stderr.flush()
    os._exit(TRY_AGAIN)  # The main thread may wait for that process for ever.


def _tell(peers: dict[int, socket.socket], text: str) -> None:
    for peer in peers.values():
        with contextlib.suppress(OSError):
            peer.sendall(text.encode()[:_WORD].ljust(_WORD))


def _hear(peer: socket.socket) -> str:
    """A message; '' when the connection has ended."""
    found = b""
    while len(found) < _WORD:
        part = peer.recv(_WORD - len(found))
        if not part:
            return ""
        found += part
    return found.decode(errors="replace").strip()


def _listed(numbers: set[int]) -> str:
    """'process 3', 'processes 1 and 3', and of many the first few."""
    some = sorted(numbers)[:5]
    more = f" and {len(numbers) - len(some)} more" if len(numbers) > len(some) else ""
    names = ", ".join(map(str, some))
    return f"process{'es' if len(numbers) > 1 else ''} {names}{more}"
