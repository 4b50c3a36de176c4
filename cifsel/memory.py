"""Keeps freed memory in the process, so that the next step of training does not ask for it anew."""

import ctypes
import os
import sys
from pathlib import Path

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
# Of control groups, version 2.
_CONTAINER = Path("/sys/fs/cgroup/memory.max")


def keep_freed() -> None:
    """Tells glibc to keep what is freed; call before JAX starts its threads.

    XLA's CPU backend allocates gigabytes for every step and frees them after it. glibc's default
    gives them back to the system each time, which then has to find, and fill with zeros, half a
    million pages for the next step: a third of the time of a training step at 128 px
    (experiments/README.md). `release_when_short` is the other half of it. Without glibc (macOS,
    musl) nothing is done.
    """
    libc = _glibc()
    if libc is None:
        return
    # Not from mmap, which is given back at once; and so from one heap for all threads, since the
    # others' heaps have no room for large blocks and would turn to mmap nevertheless.
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_ARENA_MAX, 1)
    libc.mallopt(_M_TRIM_THRESHOLD, -1)


def release_when_short() -> None:
    """Gives back what is free if this process takes more than half of the memory; call often.

    What is kept may come to two or three times what is used at any time: a step may begin before
    the block of the one before is free, and small arrays may lie in the middle of a free block.
    """
    libc = _glibc()
    if libc is not None and _taken() > _available() / 2:
        libc.malloc_trim(0)


def _taken() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _available() -> int:
    """Bytes that the machine has, or that a container may use."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(machine, int(_CONTAINER.read_text()))
    except (OSError, ValueError):  # Not in a container, or "max".
        return machine


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    # musl has a mallopt, too, which does nothing.
    return libc if hasattr(libc, "gnu_get_libc_version") else None
