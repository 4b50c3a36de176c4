"""The same run on one device, on many, and in several processes; each layout is a real command."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import ports
import pytest
from paths import REPO

from cifsel.errors import UserError
from cifsel.runtime import sharding

pytestmark = [pytest.mark.process, pytest.mark.slow]

EPOCHS = 2
# Batch norm trains, so that its statistics must be those of the whole batch. The last batch is not
# full, and the 50 test images are no multiple of the devices. With seed 4 the first epoch has seven
# more validation images right than the second; with others they may be as good, and an image that
# rounding decides would decide which weights are kept.
COMMAND = (
    "-m cifsel.main --config=configs/effnet.py --config.model=efficientnetv2-mini"
    " --config.dataset=drawn --config.weights=none --config.init_head=random"
    " --config.frozen_bn=False --config.image_size=32 --config.train_size=0 --config.mirror=False"
    f" --config.train_examples=150 --config.test_examples=50 --config.epochs={EPOCHS}"
    " --config.batch_size=64 --config.val_per_class=50 --config.seed=4"
)


def as_slurm_would(job: int, processes: int, process: int) -> dict[str, str]:
    """The environment in which Slurm starts a process of a job on this machine."""
    return {
        "SLURM_JOB_ID": str(job),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": str(processes),
        "SLURM_PROCID": str(process),
        "SLURM_LOCALID": str(process),
    }


class Layout:
    """Processes with so many fake devices each, started in a workdir."""

    def __init__(
        self,
        cache: Path,
        workdir: Path,
        processes: int,
        devices: int,
        *extra: str,
        slurm: bool = False,
    ):
        port = ports.free()
        env = os.environ | {
            "CIFSEL_CACHE": str(cache),
            "PYTHONUNBUFFERED": "1",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        }
        self.workdir = workdir
        workdir.mkdir(exist_ok=True)
        self.logs = [workdir / f"log-{i}.txt" for i in range(processes)]
        self.all = []
        for i, log in enumerate(self.logs):
            several = [
                f"--config.distributed=localhost:{port}",
                f"--config.processes={processes}",
                f"--config.process={i}",
            ]
            if slurm:
                several = ["--config.distributed=auto"]
            arguments = [*COMMAND.split(), *(several if processes > 1 else []), *extra]
            arguments += [f"--workdir={workdir / 'run'}"]
            with log.open("w") as out:
                self.all.append(
                    subprocess.Popen(
                        [sys.executable, *arguments],
                        cwd=REPO,
                        env=env | (as_slurm_would(port, processes, i) if slurm else {}),
                        stdout=out,
                        stderr=out,
                    )
                )

    def wait(self, limit: float = 240) -> list[int]:
        """Exit statuses."""
        return [process.wait(limit) for process in self.all]

    def wait_for(self, text: str, limit: float = 240) -> None:
        """Until the first process says it."""
        until = time.monotonic() + limit
        while text not in self.logs[0].read_text():
            assert time.monotonic() < until, self.logs[0].read_text()
            assert self.all[0].poll() is None, self.logs[0].read_text()
            time.sleep(0.05)

    def saved(self) -> list[Path]:
        """The folders of whole checkpoints, the newest last."""
        paths = (self.workdir / "run" / "checkpoints").glob("*")
        return sorted((path for path in paths if path.name.isdigit()), key=lambda p: int(p.name))

    def result(self) -> tuple[dict, dict]:
        """metrics.json and predictions.npz; fails with what was said."""
        assert self.wait() == [0] * len(self.all), [log.read_text() for log in self.logs]
        run = self.workdir / "run"
        with np.load(run / "predictions.npz") as arrays:
            return json.loads((run / "metrics.json").read_text()), dict(arrays)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def alone(cache, tmp_path_factory):
    return Layout(cache, tmp_path_factory.mktemp("alone"), 1, 1).result()


def assert_same(result, expected):
    metrics, arrays = result
    expected_metrics, expected_arrays = expected
    assert len(metrics["training"]["history"]) == EPOCHS
    for entry, other in zip(
        metrics["training"]["history"], expected_metrics["training"]["history"], strict=True
    ):
        for name in ("train_loss", "val_loss", "grad_norm"):
            assert entry[name] == pytest.approx(other[name], rel=1e-4)
        assert entry["step"] == other["step"]
        for name in ("train_accuracy", "val_accuracy"):  # Of two images two logits may be as high.
            assert entry[name] == pytest.approx(other[name], abs=1e-3)
    for split in ("val", "test"):
        np.testing.assert_array_equal(arrays[f"{split}_ids"], expected_arrays[f"{split}_ids"])
        logits, other = arrays[f"{split}_logits"], expected_arrays[f"{split}_logits"]
        np.testing.assert_allclose(logits, other, atol=2e-4)
    assert metrics["test"]["accuracy"] == expected_metrics["test"]["accuracy"]
    assert len(set(arrays["test_ids"].tolist())) == 50


def test_eight_devices_give_what_one_gives(alone, cache, tmp_path):
    result = Layout(cache, tmp_path, 1, 8).result()
    assert result[0]["devices"]["count"] == 8
    assert_same(result, alone)


def test_two_processes_give_what_one_gives(alone, cache, tmp_path):
    both = Layout(cache, tmp_path, 2, 2)
    result = both.result()
    assert result[0]["devices"]["count"] == 4
    assert_same(result, alone)
    # The second process neither speaks nor writes.
    assert "epoch" not in both.logs[1].read_text()
    assert "images/s" not in both.logs[1].read_text()
    assert len(list((tmp_path / "run").glob("events.out.tfevents.*"))) == 1


def test_sigterm_of_one_saves_in_all_and_another_layout_goes_on(alone, cache, tmp_path):
    both = Layout(cache, tmp_path, 2, 2)
    both.wait_for("epoch   1/")
    both.all[1].send_signal(signal.SIGTERM)
    assert both.wait() == [75, 75], [log.read_text() for log in both.logs]
    layout = Layout(cache, tmp_path, 1, 1)
    assert_same(layout.result(), alone)
    assert "resuming after 1 epoch " in layout.logs[0].read_text()


def test_killed_process_is_named_at_once_and_the_job_goes_on(alone, cache, tmp_path):
    both = Layout(cache, tmp_path, 2, 2, "--config.checkpoint_minutes=0", slurm=True)
    both.wait_for("epoch   1/")
    while len(both.saved()) < 2:
        time.sleep(0.01)
    both.all[1].kill()
    began = time.monotonic()
    assert both.wait() == [75, -signal.SIGKILL]
    assert time.monotonic() - began < 20
    assert both.logs[0].read_text().count("error: process 1 is gone: give all commands again") == 1
    assert "Traceback" not in both.logs[0].read_text()
    # On top of that, the last checkpoint is damaged: both take the one before.
    newest = both.saved()[-1]
    array = max((newest / "training").rglob("d/*"), key=lambda path: path.stat().st_size)
    array.write_bytes(array.read_bytes()[:-1])
    again = Layout(cache, tmp_path, 2, 2, slurm=True)
    assert_same(again.result(), alone)
    said, other = (log.read_text() for log in again.logs)
    assert said.count(f"{newest.name} is damaged ('training/") == 1
    assert "resuming after" in said
    assert "damaged" not in other
    assert newest.with_name(f"damaged-{newest.name}").is_dir()


def test_sigterm_before_training_ends_all(cache, tmp_path):
    """JAX would catch it, and the run would go on."""
    both = Layout(cache, tmp_path, 2, 2)
    both.wait_for("workdir")
    both.all[1].send_signal(signal.SIGTERM)
    assert both.wait(60) == [75, -signal.SIGTERM]
    assert "process 1 is gone" in both.logs[0].read_text()


def test_a_process_may_compile_for_longer_than_gloo_waits():
    """All devices are connected at the start, not by the first sum that a program needs."""
    port = ports.free()
    both = [
        subprocess.Popen(
            [sys.executable, "-c", LATE, str(port), str(i)],
            cwd=REPO,
            env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    # Lines of Gloo's may come before.
    assert [process.communicate(timeout=240)[0].split()[-1] for process in both] == ["6.0", "6.0"]


LATE = """
import sys, time
import jax
import numpy as np
from cifsel.runtime import sharding
port, process = sys.argv[1:]
with sharding.connected(f"localhost:{port}", 2, int(process)):
    x = sharding.divide(np.arange(4, dtype=np.float32), 0)
    time.sleep(35 * int(process))
    print(float(jax.jit(lambda x: x.sum(), out_shardings=sharding.replicated())(x)), flush=True)
"""
CONNECT = """
import sys
from cifsel.runtime import sharding
from cifsel.errors import UserError
try:
    with sharding.connected("auto", 1, 0, timeout=2):
        print("connected")
except UserError as error:
    print(error)
"""


def connect(**environment):
    return subprocess.run(
        [sys.executable, "-c", CONNECT],
        cwd=REPO,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout


def test_auto_names_who_is_missing():
    job = os.getpid()
    assert connect(**as_slurm_would(job, 3, 0)).startswith("processes 1, 2 of 3 did not start")
    assert connect(**as_slurm_would(job, 3, 1)).startswith("process 0 of 3 was not found at local")


def test_auto_where_nobody_knows():
    assert "nothing here says which processes take part: give host:port" in connect()


def test_a_batch_that_devices_cannot_share(monkeypatch):
    monkeypatch.setattr("jax.device_count", lambda: 8)
    sharding.check_batch(128, 4)
    with pytest.raises(UserError, match=r"batch_size is 100; expected a multiple of 8.*give 104"):
        sharding.check_batch(100, 1)
    assert sharding.divisible(50) == 56
