"""Batches for the training loop, read ahead of it where they come from disk."""

import time
from collections.abc import Callable, Iterator, Sequence

from cifsel.training.steps import Batch

# Calls of the scan whose batches are read while earlier ones are computed.
_AHEAD = 2


class Loader:
    """Yields the batches of each call, and measures how long the loop waits for them.

    Attributes:
      waited: seconds that the loop has waited for a batch.

    Args:
      load: (first step) -> the stacked batches of a call.
      read_ahead: load in other threads, because the images are on disk.
    """

    def __init__(self, load: Callable[[int], Batch], *, read_ahead: bool) -> None:
        self._load, self._read_ahead = load, read_ahead
        self.waited = 0.0

    def batches(self, firsts: Sequence[int]) -> Iterator[Batch]:
        """Yields the batches of the calls that begin at these steps, in this order."""
        source = self._ahead(firsts) if self._read_ahead else map(self._load, firsts)
        began = time.perf_counter()
        for batch in source:
            self.waited += time.perf_counter() - began
            yield batch
            began = time.perf_counter()

    def _ahead(self, firsts: Sequence[int]) -> Iterator[Batch]:
        # Imported where images are on disk only, as it takes a second.
        import grain

        options = grain.ReadOptions(num_threads=_AHEAD, prefetch_buffer_size=_AHEAD)
        calls = grain.MapDataset.source(list(firsts)).map(self._load)
        return iter(calls.to_iter_dataset(options))
