"""Keeps libraries quiet, also where several threads use them at once.

Python's filter of warnings and the standard streams belong to the whole process. A thread that puts
them back as it found them would undo, or keep for ever, what another thread has changed.
"""

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Iterator
from typing import Any

# Held by whoever writes to standard error, so that no message of ours gets lost.
STDERR = threading.RLock()

_lock = threading.Lock()
_filters = contextlib.ExitStack()  # puts back the filter that the first thread has found
_inside = 0  # threads within `no_warnings`


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Ignores Python's warnings, of all threads, until the last thread has left its block."""
    global _inside  # noqa: PLW0603 - the filter is of the process, too
    with _lock:
        if not _inside:
            _filters.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _filters.close()


@contextlib.contextmanager
def no_stderr() -> Iterator[None]:
    """Drops what libraries write to standard error. One thread at a time can be in the block."""
    with STDERR:
        stderr = os.dup(2)
        try:
            with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - a device, not a path
                os.dup2(nothing.fileno(), 2)
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def discard(stream: io.TextIOWrapper | Any) -> None:
    """Sends the rest of a stream nowhere. Python flushes at its end, and would complain then."""
    with contextlib.suppress(OSError, ValueError):  # A test's stream has no number.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
