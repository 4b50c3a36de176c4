"""A run that is killed, or whose newest checkpoint is damaged, ends as if nothing had been."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from loop_runs import CLASSES, assert_same_run, disturbed, train

from cifsel.errors import UserError
from cifsel.runtime.signals import Interrupted
from cifsel.training.state import init_state
from cifsel.workdir import checksums

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent

# --- damage --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(real, tmp_path_factory):
    scan, predict, initial = real
    return train(tmp_path_factory.mktemp("undisturbed"), scan, predict, initial())


@pytest.fixture(scope="module")
def interrupted(real, tmp_path_factory):
    """The folder of a run that was stopped amid its second epoch, with steps 4 and 5 saved."""
    scan, predict, initial = real
    folder = tmp_path_factory.mktemp("interrupted")
    stopped = disturbed(scan, 5, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Interrupted):
        train(folder, stopped, predict, initial(), checkpoint_minutes=0.0)
    return folder


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# An array, a file that says nothing of the arrays, and a whole part. Every file is damaged in
# test_checksums.py.
DAMAGES = {
    "training/**/d/*": flip,  # Of several the largest, which has the arrays.
    "_CHECKPOINT_METADATA": flip,
    "training": shutil.rmtree,
}


@pytest.mark.parametrize("pattern", DAMAGES)
def test_damaged_newest_checkpoint_changes_nothing_in_the_end(
    real, undisturbed, interrupted, tmp_path, pattern
):
    scan, predict, initial = real
    folder = shutil.copytree(interrupted, tmp_path / "copy")
    newest = folder / "checkpoints" / "5"
    found = [path for path in newest.glob(pattern) if path.is_file() or pattern == "training"]
    if not found:
        pytest.skip(f"this version of orbax writes no {pattern}")
    DAMAGES[pattern](max(found, key=lambda path: path.stat().st_size))
    assert_same_run(train(folder, scan, predict, initial()), undisturbed)
    used = pattern == "_CHECKPOINT_METADATA"
    assert (folder / "checkpoints" / "damaged-5").exists() != used


# --- a full disk ---------------------------------------------------------------------------------


def no_room(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_ends_the_run_and_room_lets_it_go_on(real, undisturbed, tmp_path, monkeypatch):
    scan, predict, initial = real
    full = disturbed(scan, 4, lambda: monkeypatch.setattr(checksums, "write", no_room))
    with pytest.raises(UserError, match=r"/[34] could not be written \(No space left on device\)"):
        train(tmp_path, full, predict, initial(), checkpoint_minutes=0.0)
    monkeypatch.undo()
    assert_same_run(train(tmp_path, scan, predict, initial()), undisturbed)


def test_too_little_room_is_found_before_anything_is_written(
    real, undisturbed, tmp_path, monkeypatch
):
    scan, predict, initial = real
    usage = shutil.disk_usage(tmp_path)
    little = usage._replace(free=1000)
    full = disturbed(scan, 4, lambda: monkeypatch.setattr(shutil, "disk_usage", lambda _: little))
    with pytest.raises(UserError, match=r"/4 could not be written \(No space left on device\)"):
        train(tmp_path, full, predict, initial(), checkpoint_minutes=0.0)
    assert "4" not in {path.name[0] for path in (tmp_path / "checkpoints").iterdir()}
    monkeypatch.undo()
    assert_same_run(train(tmp_path, scan, predict, initial()), undisturbed)


def test_nobody_is_told_that_it_was_saved_when_it_was_not(real, tmp_path, monkeypatch):
    scan, predict, initial = real
    monkeypatch.setattr(checksums, "write", no_room)
    stopped = disturbed(scan, 2, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(UserError, match="could not be written"):
        train(tmp_path, stopped, predict, initial())


# --- kill -9 -------------------------------------------------------------------------------------

EPOCHS = 4
# Seconds from the beginning of a save until the run is killed.
DELAYS = (0.0, 0.04, 0.12)
# Runs in forks of one process, which has imported what takes seconds, killed soon after a save has
# begun, and then one to the end; says whether they were killed within a save.
PROGRAM = f"""
import os, signal, sys, time
from pathlib import Path
import test_crashes

folder = Path(sys.argv[1])

def names():
    return set(os.listdir(folder / "checkpoints")) if (folder / "checkpoints").exists() else set()

def start(killed, result):
    child = os.fork()
    if not child:
        test_crashes.run(killed, result)
        os._exit(0)
    return child

os.waitpid(start(folder / "undisturbed", folder / "expected.npz"), 0)
folder = folder / "killed"
for delay in {DELAYS}:
    before = names()
    child = start(folder, sys.argv[1] + "/never.npz")
    until = time.monotonic() + 60
    while not any("tmp" in name for name in names() - before) and time.monotonic() < until:
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    print("within" if any("tmp" in name for name in names()) else "between", flush=True)
os.waitpid(start(folder, sys.argv[1] + "/found.npz"), 0)
"""


def run(folder, result):
    """Trains a model that is large enough to be killed while it is written."""

    def step(state, batches, key):
        mask = batches["mask"]
        seen = jnp.mean(batches["inputs"] * mask[..., None, None, None])
        # Nothing that was once different becomes equal again.
        params = jax.tree.map(lambda w: jnp.sin(3.7 * w + seen), state.params)
        sums = state.sums.replace(
            images=state.sums.images + mask.sum(), steps=state.sums.steps + len(mask)
        )
        return state.replace(step=state.step + len(mask), params=params, sums=sums)

    def predict(variables, images):
        return variables["params"]["w"][: len(images) * CLASSES].reshape(-1, CLASSES)

    w = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
    variables = {"params": {"w": jnp.asarray(w)}, "batch_stats": {}}
    state = init_state(variables, optax.sgd(0.1), 0.0)
    scan = jax.jit(step, donate_argnums=0)
    best, progress = train(folder, scan, predict, state, epochs=EPOCHS, checkpoint_minutes=0.0)
    losses = [epoch.val_loss for epoch in progress.history]
    np.savez(result, w=best["params"]["w"], losses=losses, best=progress.best.epoch)


@pytest.mark.process
def test_killed_at_any_moment_of_a_save(tmp_path):
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "within" in done.stdout
    with np.load(tmp_path / "found.npz") as found, np.load(tmp_path / "expected.npz") as expected:
        assert len(found["losses"]) == EPOCHS
        for name in expected.files:
            np.testing.assert_array_equal(found[name], expected[name])
    left = [path.name for path in (tmp_path / "killed" / "checkpoints").iterdir()]
    assert left == [str(3 * EPOCHS)]
