"""The fixture `read_within`: reads files in a process with bounded memory and time."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from paths import REPO

# Reads files one after the other; of each its answer, how long it took, and the peak of memory.
_READER = """
import json, resource, signal, sys
from pathlib import Path
from cifsel.errors import UserError

code, paths, limit = json.load(sys.stdin)
exec(code)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + limit * 2**20, resource.RLIM_INFINITY))
began, said = peak(), []
for path in paths:
    signal.alarm(100)
    signal.setitimer(signal.ITIMER_PROF, 10)
    try:
        read(Path(path))
        said.append("")
    except UserError as error:
        said.append(str(error))
print(json.dumps([said, peak() - began]))
"""


@pytest.fixture(scope="session")
def read_within() -> Callable[[str, Sequence[Path], int], list[str]]:
    """(code, paths, megabytes) -> what is said of each: the UserError, or nothing.

    The code defines `read`, which is called with a path each, in a process of its own that it must
    not make larger than that, and has 10 seconds of computing for each, and 100 to wait.
    """

    def read(code: str, paths: Sequence[Path], megabytes: int) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", _READER],
            input=json.dumps([code, [str(path) for path in paths], megabytes]),
            cwd=REPO,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said, grown = json.loads(done.stdout)
        assert grown < megabytes
        assert done.stderr == ""
        return said

    return read
