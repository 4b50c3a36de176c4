"""The processes of one run: each waits for all others, and ends when another is lost.

Before JAX connects them, all processes connect to process 0 by TCP, and stay connected for the
whole run. A connection that breaks means that a process is gone. The others then end at once, with
a line that names it and `ExitCode.TRY_AGAIN`.

`jax.distributed.initialize` alone does not do this. We measured JAX 0.10.2 with three processes,
`initialization_timeout=10` and `heartbeat_timeout_seconds=10`. When a process never started, the
others aborted after the timeout with SIGABRT (exit code 134) and a C++ stack trace that said
"Deadline Exceeded", but not who was missing. When a process was killed, the others learnt its
number after 10 s, but again aborted with a stack trace. When process 0 was killed, they aborted
without a word about it. No Python code runs in between, so neither message nor exit code can be
changed. Launch scripts need the exit code to tell a lost machine from a mistake.
"""

import atexit
import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator

from cifsel.errors import ExitCode, UserError
from cifsel.runtime import failures, terminal
from cifsel.runtime.signals import Interrupted

_RETRY = 0.2  # seconds between attempts to connect
_GRACE = 3.0  # seconds in which a lost process is noticed, see `together`
_MESSAGE_BYTES = 64  # of every message, filled with spaces


@contextlib.contextmanager
def together(host: str, port: int, processes: int, process: int, timeout: float) -> Iterator[None]:
    """Waits until all processes are connected, and watches over them within the block.

    A process may leave the block when it has finished, or was stopped with everything saved. The
    others then go on. A process that fails in the block ends the others.

    Args:
      host: of process 0.
      port: on which process 0 listens.
      processes: the number of processes.
      process: the number of this process, from 0.
      timeout: seconds to wait for the others.

    Raises:
      UserError: some processes are missing. The message says which.
    """
    if process == 0:
        peers = _gather(port, processes, timeout)
        _tell(peers, "go")
    else:
        peers = {0: _join(host, port, processes, process, timeout)}
    refused, leaving = threading.Event(), threading.Event()
    for number, peer in peers.items():
        peer.settimeout(None)
        # A machine that has lost its power closes no connection.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        threading.Thread(target=_watch, args=(number, peers, refused, leaving), daemon=True).start()
    try:
        yield
    except Interrupted:
        _tell(peers, "done")
        raise
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, UserError):
            refused.set()
        # The others may be about to fail for the same reason. Or a sum over all processes, or a
        # checkpoint, has failed because one of them is lost: then `_watch` ends this process, and
        # names that one.
        time.sleep(0 if isinstance(error, KeyboardInterrupt) else _GRACE)
        leaving.set()
        _tell(peers, f"gone {process}")
        # Called after the error is printed. JAX would first wait five minutes for the others.
        atexit.register(_leave, error)
        raise
    _tell(peers, "done")


def _leave(error: BaseException) -> None:
    """Ends the process with the exit code that `command.guarded` gives for an error."""
    sys.stdout.flush()
    sys.stderr.flush()
    if isinstance(error, Exception):
        failure = failures.explained(error)
        os._exit(failure.code if failure else ExitCode.DEFECT)
    os._exit(ExitCode.INTERRUPTED)


def _gather(port: int, processes: int, timeout: float) -> dict[int, socket.socket]:
    """Waits, as process 0, for the others. Returns the connections to them by their numbers."""
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
                    continue  # A stranger has connected, not a process of a run.
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
    """Waits, as another process, for process 0. Returns the connection to it."""
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
    peer.sendall(f"{process} {processes}".encode().ljust(_MESSAGE_BYTES))
    peer.settimeout(timeout + 10)
    with contextlib.suppress(OSError):
        answer = _hear(peer)
        if answer == "go":
            return peer
        raise UserError(f"process 0 of {processes} has given up: {answer or 'it is gone'}")
    raise UserError(f"process 0 of {processes} is gone")


def _watch(
    number: int,
    peers: dict[int, socket.socket],
    refused: threading.Event,
    leaving: threading.Event,
) -> None:
    """Ends this process when a peer is gone that has not sent "done".

    Args:
      number: of the peer.
      peers: the connections to all.
      refused: this process has a UserError. It stays to print it when a peer says that it has
        failed too, but not when a peer is gone without a word.
      leaving: this process has failed, and stays to print its own error.
    """
    message = ""
    with contextlib.suppress(OSError):
        message = _hear(peers[number])
    if message == "done" or leaving.is_set() or (message and refused.is_set()):
        return
    gone = message.removeprefix("gone ") or number  # Process 0 passes on who is gone.
    _tell(peers, f"gone {gone}")
    terminal.error(
        f"process {gone} is gone: give all commands again, which go on from the last checkpoint"
    )
    os._exit(ExitCode.TRY_AGAIN)  # The main thread may wait for that process for ever.


def _tell(peers: dict[int, socket.socket], text: str) -> None:
    for peer in peers.values():
        with contextlib.suppress(OSError):
            peer.sendall(text.encode()[:_MESSAGE_BYTES].ljust(_MESSAGE_BYTES))


def _hear(peer: socket.socket) -> str:
    """Waits for a message. '' when the connection has ended."""
    message = b""
    while len(message) < _MESSAGE_BYTES:
        part = peer.recv(_MESSAGE_BYTES - len(message))
        if not part:
            return ""
        message += part
    return message.decode(errors="replace").strip()


def _listed(numbers: set[int]) -> str:
    """'process 3', 'processes 1 and 3', and of many the first few."""
    some = sorted(numbers)[:5]
    more = f" and {len(numbers) - len(some)} more" if len(numbers) > len(some) else ""
    names = ", ".join(map(str, some))
    return f"process{'es' if len(numbers) > 1 else ''} {names}{more}"
