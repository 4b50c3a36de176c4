"""Keeps freed memory in the process, so that the next step of training does not ask for it anew."""

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
# Where Linux says which control groups this process is in, and keeps what they may use.
_OWN_GROUPS, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def keep_freed() -> None:
    """Tells glibc to keep what is freed; call before JAX starts its threads.

    XLA's CPU backend allocates a block of a gigabyte or so for every step and frees it after it.
    glibc's default gives it back to the system each time, which then has to find, and fill with
    zeros, as many pages for the next step: a third of the time of a training step at 128 px
    (experiments/README.md). `release_when_short` is the other half of it. Without glibc (macOS,
    musl) nothing is done.
    """
    libc = _glibc()
    if libc is None:
        return
    import jax  # Only here: who asks for help need not wait for it.

    # Not from mmap, which is given back at once, but from the heap.
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, -1)
    # Only the heap of the main thread has room for such a block; in those of other threads it
    # would come from mmap nevertheless. So the thread that calls a step has to allocate it, too,
    # which it does if the inputs are there (`sharding.divide`).
    # The other way, one heap for all threads, has them search the hundred thousand holes that
    # compiling leaves in it, one thread at a time.
    jax.config.update("jax_cpu_enable_async_dispatch", False)


def release_when_short() -> None:
    """Gives back what is free if this process takes more than half of the memory; call often.

    What is kept may come to more than is used at any time: small arrays may lie in the middle of a
    free block, so that the next one does not fit.
    """
    libc = _glibc()
    if libc is not None and _taken() > _available() / 2:
        libc.malloc_trim(0)


def _taken() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@functools.cache
def _available() -> int:
    """Bytes that the machine has, or that this process may use: in a container, a Slurm job."""
    return min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *_limits()])


def _limits() -> Iterator[int]:
    """Bytes that each control group with a limit, of version 1 or 2, leaves to this process."""
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:  # Such as 4:cpu,memory:/slurm/job_3 or, of version 2, 0::/slurm/job_3.
        _, controllers, group = line.split(":", 2)
        if not controllers:
            root, name = _GROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = _GROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        folder = root / group.lstrip("/")
        # In a container the path may be that on its host, and only the root be there.
        for above in (folder, *folder.parents[: len(folder.relative_to(root).parts)]):
            with contextlib.suppress(OSError, ValueError):  # Not there, or "max".
                yield int((above / name).read_text())


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    # musl has a mallopt, too, which does nothing.
    return libc if hasattr(libc, "gnu_get_libc_version") else None
