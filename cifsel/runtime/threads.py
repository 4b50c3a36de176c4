"""Work in threads, for functions that let other threads run, as decoding does."""

import collections
import concurrent.futures
import itertools
import os
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(
    function: Callable[[T], R], items: Iterable[T], ahead: int
) -> Generator[R, None, None]:
    """Yields the function's value for each item, in order, from as many threads as cores.

    What the function raises is raised here, in the place of its value. Closing the generator drops
    the values that nobody has asked for, without waiting for them.

    Args:
      function: called in several threads at once.
      items: its arguments.
      ahead: the number of values that are computed before they are asked for, at least 1.
    """
    remaining = iter(items)
    pool = concurrent.futures.ThreadPoolExecutor(cores())
    try:
        waiting = collections.deque(
            pool.submit(function, item) for item in itertools.islice(remaining, ahead)
        )
        while waiting:
            value = waiting.popleft().result()
            # Before the value is handed on, so that the threads have work in the meantime.
            for item in itertools.islice(remaining, 1):
                waiting.append(pool.submit(function, item))
            yield value
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def cores() -> int:
    """The number of cores that this process may use. Slurm may give it only some of them."""
    if hasattr(os, "sched_getaffinity"):  # Only Linux has it.
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
