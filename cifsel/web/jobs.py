"""Commands of cifsel in processes of their own, whose lines are read as they come.

A run may take all memory, or be stopped, without an end of the page. Its work does not hold up the
answers to visitors.
"""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

from cifsel.runtime import ending

# Seconds that a command has to end by itself.
_PATIENCE = 2.0


class Command:
    """A command that is to run.

    Args:
      words: after `python -m`.
      heard: called with each line of standard output.

    Attributes:
      error: the line that says why it failed. '' if it has not.
      stopped: `stop` was called.
    """

    def __init__(self, words: Sequence[str], heard: Callable[[str], object]) -> None:
        self._words, self._heard = words, heard
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self.error, self.stopped = "", False

    def run(self) -> bool:
        """Waits for the end of the command. Returns whether it has done its work."""
        with self._lock:
            if self.stopped:
                return False
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", *self._words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                # Ctrl-C in the terminal is for the page, which then stops its commands.
                start_new_session=True,
            )
        ending.tidy_with(process.kill)
        complaints: list[str] = []
        try:
            with process:
                listener = threading.Thread(target=_read, args=(process.stderr, complaints))
                listener.start()
                for line in process.stdout or ():
                    self._heard(line.strip())
                listener.join()
        finally:
            ending.forget(process.kill)
        if process.returncode:
            self.error = _reason(complaints, process.returncode)
        return not process.returncode

    def stop(self) -> None:
        """Ends the command, as Ctrl-C would."""
        with self._lock:
            self.stopped = True
            process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        until = time.monotonic() + _PATIENCE
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        with contextlib.suppress(OSError):
            process.kill()


def _read(stream: object, lines: list[str]) -> None:
    for line in stream or ():  # type: ignore[attr-defined]
        lines.append(line.strip())
        del lines[:-50]


def _reason(complaints: Sequence[str], code: int) -> str:
    """The line of standard error that says why a command failed."""
    errors = [line for line in complaints if line.startswith("error: ")]
    if errors:
        return errors[-1].removeprefix("error: ")
    if code < 0:
        return "its process was ended, perhaps for lack of memory"
    last = next((line for line in reversed(complaints) if line), f"exit status {code}")
    return f"a defect of the program ({last})"
