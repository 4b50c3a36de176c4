"""Freed memory stays in the process until it takes too much of the machine's."""

import subprocess
import sys

import pytest

from cifsel import memory

pytestmark = pytest.mark.skipif(
    memory._glibc() is None, reason="glibc's allocator is what is being told"
)

SCRIPT = """
import sys
from cifsel import memory

def used():
    return memory._taken() / 2**20

if sys.argv[1] == "keep":
    memory.keep_freed()
if sys.argv[2] == "short":
    memory._available = lambda: 0
block = b"x" * (200 * 2**20)
full = used()
del block
freed = used()
memory.release_when_short()
print(full - freed, full - used())
"""


@pytest.mark.parametrize(
    ("kept", "short", "given_back"),
    [("default", "plenty", (True, True)), ("keep", "plenty", (False, False)),
     ("keep", "short", (False, True))],
)  # fmt: skip
def test_what_is_freed_is_kept_until_memory_is_short(kept, short, given_back):
    command = [sys.executable, "-c", SCRIPT, kept, short]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert tuple(float(megabytes) > 150 for megabytes in found) == given_back


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_CONTAINER", limit)
    machine = memory._available()
    assert machine > 2**28
    limit.write_text("max\n")
    assert memory._available() == machine
    limit.write_text("1000000\n")
    assert memory._available() == 1_000_000
