"""Stopwatches: of the phases of a run, and of the training loop."""

import contextlib
import time
from collections.abc import Iterator

# Calls before the time per step is estimated. The first ones compile.
TIMED_CALLS = 5


class Phases:
    """Seconds that each phase of a run took, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Measures the block and keeps its seconds under the name of the phase."""
        began = time.perf_counter()
        yield
        self.seconds[phase] = time.perf_counter() - began


class LoopClock:
    """Seconds since the last save and the last lap, and the time of a step without compiling."""

    def __init__(self) -> None:
        self._lap = self._save = time.perf_counter()
        self._call_times: list[float] | None = []

    def since_save(self) -> float:
        """Seconds since the last save, or since the clock was made."""
        return time.perf_counter() - self._save

    def saved(self) -> None:
        """Call this after every save."""
        self._save = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last call of this method, or since the clock was made."""
        now = time.perf_counter()
        passed, self._lap = now - self._lap, now
        return passed

    def time_per_step(self, step: int) -> float | None:
        """Call this after every call of the scan.

        Args:
          step: number of steps done so far.

        Returns:
          Seconds per step, once: after `TIMED_CALLS` calls. None before and after that.
        """
        if self._call_times is None:
            return None
        self._call_times.append(time.perf_counter())
        if len(self._call_times) == 1:
            self._first_step = step
            return None
        if len(self._call_times) < TIMED_CALLS:
            return None
        per_step = (self._call_times[-1] - self._call_times[0]) / (step - self._first_step)
        self._call_times = None
        return per_step
