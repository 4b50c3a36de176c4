"""Freed memory stays in the process until it takes too much of the machine's."""

import os
import subprocess
import sys

import pytest

from cifsel.runtime import memory

pytestmark = pytest.mark.skipif(
    memory._glibc() is None, reason="glibc's allocator is what is being told"
)

SCRIPT = """
import sys
from cifsel.runtime import memory

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


@pytest.mark.process
@pytest.mark.parametrize(
    ("kept", "short", "given_back"),
    [("default", "plenty", (True, True)), ("keep", "plenty", (False, False)),
     ("keep", "short", (False, True))],
)  # fmt: skip
def test_what_is_freed_is_kept_until_memory_is_short(kept, short, given_back):
    command = [sys.executable, "-c", SCRIPT, kept, short]
    freed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert tuple(float(megabytes) > 150 for megabytes in freed) == given_back


PROGRAM = """
import resource, sys
from cifsel.runtime import memory

if sys.argv[1] == "keep":
    memory.keep_freed()
import jax, jax.numpy as jnp, numpy as np
from cifsel.runtime import sharding

# Its result is small, and the matrix in between of 36 MB.
f = jax.jit(lambda x: jnp.outer(x[0], jnp.sin(x[1])) @ x[2])
x = np.ones((200, 3000), np.float32)  # Takes a moment to copy.
for call in range(20):
    if call == 10:  # The heap is as large as it gets.
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    f(sharding.divide(x, 0)).block_until_ready()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 10)
"""


@pytest.mark.process
@pytest.mark.parametrize(("kept", "most", "least"), [("default", 1e9, 5_000), ("keep", 500, 0)])
@pytest.mark.slow
def test_what_a_compiled_program_uses_in_between_is_kept_for_its_next_call(kept, most, least):
    # 36 MB are 8,800 pages, and too much for an allocator to keep unless it is told to.
    command = [sys.executable, "-c", PROGRAM, kept]
    env = os.environ | {"JAX_PLATFORMS": "cpu"}
    faults = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    assert least <= int(faults) <= most


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A function that makes files of control groups, and gives what a process in one may use."""
    monkeypatch.setattr(memory, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "all")

    def available(own, limits=()):
        (tmp_path / "own").write_text(own)
        for place, content in dict(limits).items():
            file = tmp_path / "all" / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{content}\n")
        memory._available.cache_clear()
        return memory._available()

    yield available
    memory._available.cache_clear()


def test_the_limit_of_a_control_group_counts(groups):
    machine = groups("")
    assert machine > 2**28
    assert groups("0::/\n", {"memory.max": "max"}) == machine
    assert groups("0::/job/step\n", {"job/step/memory.max": "max"}) == machine
    assert groups("0::/job/step\n", {"job/memory.max": 2_000_000}) == 2_000_000
    assert groups("0::/job/step\n", {"memory.max": 3_000_000}) == 2_000_000
    assert groups("0::/other\n") == 3_000_000
    assert groups("0::/\n", {"memory.max": 1_000_000}) == 1_000_000


def test_the_limit_of_a_container_of_the_first_version_counts(groups):
    own, limit = "9:name=systemd:/\n4:cpu,memory:/docker/1\n0::/\n", "memory.limit_in_bytes"
    machine = groups("")
    assert groups(own, {f"memory/{limit}": 2**63 - 4096}) == machine
    assert groups(own, {f"memory/{limit}": 2_000_000}) == 2_000_000
    assert groups(own, {f"memory/docker/1/{limit}": 1_000_000}) == 1_000_000
