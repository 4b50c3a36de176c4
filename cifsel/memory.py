"""Keeps freed memory in the process, so that the next step of training does not ask for it anew."""

import ctypes

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed() -> None:
    """Tells glibc to keep what is freed; call before JAX starts its threads.

    XLA's CPU backend allocates gigabytes for every step and frees them after it. glibc's default
    gives them back to the system each time, which then has to find, and fill with zeros, half a
    million pages for the next step: a third of the time of a training step at 128 px
    (experiments/README.md). Without glibc (macOS, musl) nothing is done.
    """
    libc = ctypes.CDLL(None)
    try:
        libc.gnu_get_libc_version  # noqa: B018 - musl has a mallopt that does nothing
    except AttributeError:
        return
    # Not from mmap, which is given back at once; and so from one heap for all threads, since the
    # others' heaps have no room for large blocks and would turn to mmap nevertheless.
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_ARENA_MAX, 1)
    libc.mallopt(_M_TRIM_THRESHOLD, -1)
