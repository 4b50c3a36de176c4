"""Starts the page of `served` for a test."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from paths import REPO, TESTS


@contextlib.contextmanager
def running(work, *arguments):
    """Serves a page while the block runs; yields its address and the folder for uploads."""
    paths = os.pathsep.join(map(str, (REPO, TESTS, TESTS / "web")))
    process = subprocess.Popen(
        [sys.executable, "-m", "served", str(work), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        address, _, uploads = process.stdout.readline().strip().partition(" ")
        assert address, "the page has not started"
        try:
            yield address, Path(uploads)
        finally:
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
    assert not Path(uploads).exists(), "uploads are left"
