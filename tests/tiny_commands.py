"""Commands `cifsel.main` in processes of their own, with the small runs of `tiny_run`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from paths import REPO, TESTS


class Command:
    """A command that runs. It has the methods of `subprocess.Popen` that tests use.

    Attributes:
      pid: of its process.
      log: the file with all that it says.
    """

    def __init__(self, pid: int, log: Path, statuses: Path) -> None:
        self.pid, self.log, self._status = pid, log, statuses / str(pid)

    def poll(self) -> int | None:
        """Returns the exit status, or None while it runs."""
        return int(self._status.read_text()) if self._status.exists() else None

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the exit status."""
        until = time.monotonic() + (240 if timeout is None else timeout)
        while (status := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(str(self.log), timeout or 240)
            time.sleep(0.01)
        return status

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends the process at once."""
        self.send_signal(signal.SIGKILL)

    def said(self) -> str:
        """Returns all that it has said so far."""
        return self.log.read_text()


class Server:
    """Starts commands. Each is a fork of one process, which has imported what takes seconds.

    Args:
      folder: for the exit statuses.
    """

    def __init__(self, folder: Path) -> None:
        self._statuses = folder
        paths = os.pathsep.join([str(REPO), str(TESTS)])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tiny_run", str(folder)],
            cwd=REPO,
            # Its forks run what the tests run, so that their coverage is not counted.
            env=os.environ | {"PYTHONPATH": paths, "COVERAGE_PROCESS_CONFIG": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(
        self, log: Path, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> Command:
        """Starts a command in this process's environment.

        Args:
          log: the file to which it writes what it says.
          arguments: of `cifsel.main`.
          environment: more variables.
        """
        assert self._process.stdin
        assert self._process.stdout
        log.touch()  # The fork may be slow to write.
        request = [str(log), arguments, dict(os.environ | (environment or {}))]
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Command(int(self._process.stdout.readline()), log, self._statuses)

    def close(self) -> None:
        """Ends the server."""
        with self._process as process:
            assert process.stdin
            process.stdin.close()


@pytest.fixture(scope="session")
def tiny_commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of commands."""
    server = Server(tmp_path_factory.mktemp("statuses"))
    yield server
    server.close()
