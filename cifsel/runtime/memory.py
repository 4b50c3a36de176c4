"""Keeps freed memory in the process, so that the next training step does not ask for it again.

Only Linux with glibc needs it. On macOS, Windows and musl these functions do nothing.
"""

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
# Files of Linux: the control groups of this process, and the limits of all groups.
_OWN_GROUPS, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def keep_freed() -> None:
    """Tells glibc to keep freed memory. Call it before JAX starts its threads.

    XLA's CPU backend allocates about a gigabyte for every step and frees it afterwards. By default,
    glibc gives it back to the system, which has to find as many pages for the next step and to fill
    them with zeros. At 128 px this takes a third of the time of a training step
    (experiments/LOG.md). `release_when_short` gives memory back when it runs short.
    """
    libc = _glibc()
    if libc is None:
        return
    import jax  # Not at the top, so that --help does not wait for it.

    # Blocks come from the heap, not from mmap, which is given back at once.
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, -1)
    # Only the heap of the main thread has room for such a block. Other threads would take it from
    # mmap. So the thread that calls a step has to allocate the block, which it does if the inputs
    # are there (`sharding.divide`). One heap for all threads would be slower: they would search
    # the hundred thousand holes that compiling leaves in it, one thread at a time.
    jax.config.update("jax_cpu_enable_async_dispatch", False)


def release_when_short() -> None:
    """Gives free memory back if this process takes more than half of the machine's. Call it often.

    The kept memory may be more than is in use at any time: a small array in the middle of a free
    block keeps the next large array out of it.
    """
    libc = _glibc()
    if libc is not None and _taken() > _available() / 2:
        libc.malloc_trim(0)


def _taken() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@functools.cache
def _available() -> int:
    """Bytes of the machine, or those that a container or a Slurm job may use."""
    return min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *_limits()])


def _limits() -> Iterator[int]:
    """Yields the limits of the control groups (version 1 or 2) of this process, in bytes."""
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:  # 4:cpu,memory:/slurm/job_3 in version 1, 0::/slurm/job_3 in version 2
        _, controllers, group = line.split(":", 2)
        if not controllers:
            root, name = _GROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = _GROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        folder = root / group.lstrip("/")
        # In a container, the path may be the host's, and only the root may exist.
        for above in (folder, *folder.parents[: len(folder.relative_to(root).parts)]):
            with contextlib.suppress(OSError, ValueError):  # Not there, or "max".
                yield int((above / name).read_text())


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    # musl also has a mallopt, which does nothing.
    return libc if hasattr(libc, "gnu_get_libc_version") else None
