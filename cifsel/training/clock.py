"""How long training has taken, and how long it will."""

import time

# Steps before the time of a whole run is estimated: the first ones compile.
TIMED_STEPS = 5


class Clock:
    """Seconds since the last save and the last lap, and the time of a step without compiling."""

    def __init__(self) -> None:
        self._lap = self._save = time.perf_counter()
        self._times: list[float] | None = []

    def since_save(self) -> float:
        """Seconds."""
        return time.perf_counter() - self._save

    def saved(self) -> None:
        """Called after a save."""
        self._save = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last call."""
        now = time.perf_counter()
        passed, self._lap = now - self._lap, now
        return passed

    def time_per_step(self, step: int) -> float | None:
        """Called after every call of the scan; answers once, when it knows."""
        if self._times is None:
            return None
        self._times.append(time.perf_counter())
        if len(self._times) == 1:
            self._first_step = step
            return None
        if len(self._times) < TIMED_STEPS:
            return None
        per_step = (self._times[-1] - self._times[0]) / (step - self._first_step)
        self._times = None
        return per_step
