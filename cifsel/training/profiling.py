"""Traces some gradient steps, for XProf and TensorBoard's profile page."""

import tempfile
from types import TracebackType

from clu import profiler
from etils import epath

from cifsel import workdir
from cifsel.runtime import sharding
from cifsel.runtime.terminal import say


class Trace:
    """Traces gradient steps once, after the first call of the scan, which compiles.

    It is a context manager. When it is left, it writes the trace as far as it got. Of several
    processes only the first one traces.

    Args:
      run: the workdir. The trace is written to <run>/plugins/profile, where TensorBoard looks.
      steps: smallest number of steps to trace, 0 for no trace.
    """

    def __init__(self, run: epath.Path, steps: int) -> None:
        self._run, self._steps = run, steps if sharding.is_main() else 0
        self._local: tempfile.TemporaryDirectory[str] | None = None

    def called(self, step: int) -> None:
        """Begins or ends the trace. Call this after every call of the scan.

        Args:
          step: number of steps done so far.
        """
        if not self._steps:
            return
        if self._local is None:
            # XProf writes to local files only, and the workdir may be on gs://.
            self._local = tempfile.TemporaryDirectory(prefix="cifsel-trace-")
            profiler.start(self._local.name)
            self._first = step + 1
        self._last = step
        if step - self._first + 1 >= self._steps:
            self._finish()

    def _finish(self) -> None:
        """Ends the trace, if one has begun, and moves it to the workdir."""
        self._steps = 0
        if self._local is None:
            return
        profiler.stop()
        with self._local as folder:
            for file in epath.Path(folder).glob("plugins/profile/*/*"):
                target = self._run / file.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                workdir.write_bytes(target, file.read_bytes())  # Follows no link.
        where = self._run / "plugins" / "profile"
        say(f"trace of steps {self._first} to {self._last} in {where}")
        self._local = None

    def __enter__(self) -> "Trace":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._finish()
