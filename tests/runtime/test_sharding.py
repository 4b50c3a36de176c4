"""The same run on one device, on many, and in several processes; each layout is a real command."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import ports
import pytest
import tiny_run
from paths import REPO

from cifsel.errors import UserError
from cifsel.prediction import predictor
from cifsel.runtime import sharding

EPOCHS = 3
# Batch norm trains, so that its statistics must be those of the whole batch. The last batch is not
# full, and the 50 test images are no multiple of the devices. With seed 4 only the first epoch has
# validation images right, and two of them. With others two epochs may be as good, and an image that
# rounding decides would decide which weights are kept. The model is OWN_LAYERS of `tiny_run`.
COMMAND = (
    "--config=configs/effnet.py --config.model=efficientnetv2-s"
    " --config.dataset=drawn --config.weights=none --config.init_head=random"
    " --config.frozen_bn=False --config.image_size=32 --config.train_size=0 --config.mirror=False"
    f" --config.epochs={EPOCHS} --config.batch_size=64 --config.seed=4"
    " --config.learning_rate=0.01 --config.augment.one_random=0"
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


def with_devices(count: int) -> dict[str, str]:
    """The environment of a process with so many fake devices."""
    device_flag = f"--xla_force_host_platform_device_count={count}"
    return {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {device_flag}"}


class Layout:
    """Processes with so many fake devices each, started in a workdir."""

    def __init__(
        self,
        commands,
        workdir: Path,
        processes: int,
        devices: int,
        *extra: str,
        slurm: bool = False,
    ):
        port = ports.free()
        self.workdir = workdir
        workdir.mkdir(exist_ok=True)
        self.all = []
        for i in range(processes):
            several = [
                f"--config.distributed=localhost:{port}",
                f"--config.processes={processes}",
                f"--config.process={i}",
            ]
            if slurm:
                several = ["--config.distributed=auto"]
            arguments = [*COMMAND.split(), *(several if processes > 1 else []), *extra]
            flags = with_devices(devices)
            self.all.append(
                commands.start(
                    workdir / f"log-{ports.free()}-{i}.txt",
                    *arguments,
                    f"--workdir={workdir / 'run'}",
                    environment=flags | (as_slurm_would(port, processes, i) if slurm else {}),
                )
            )

    def said(self) -> list[str]:
        """All that each process has said."""
        return [process.said() for process in self.all]

    def wait(self, limit: float = 240) -> list[int]:
        """Exit statuses."""
        return [process.wait(limit) for process in self.all]

    def wait_for(self, text: str, limit: float = 240) -> None:
        """Until the first process says it."""
        until = time.monotonic() + limit
        while text not in self.all[0].said():
            assert time.monotonic() < until, self.all[0].said()
            assert self.all[0].poll() is None, self.all[0].said()
            time.sleep(0.01)

    def saved(self) -> list[Path]:
        """The folders of whole checkpoints, the newest last."""
        paths = (self.workdir / "run" / "checkpoints").glob("*")
        return sorted((path for path in paths if path.name.isdigit()), key=lambda p: int(p.name))

    def result(self) -> tuple[dict, dict]:
        """metrics.json and predictions.npz; fails with what was said."""
        assert self.wait() == [0] * len(self.all), self.said()
        run = self.workdir / "run"
        with np.load(run / "predictions.npz") as arrays:
            return json.loads((run / "metrics.json").read_text()), dict(arrays)


@pytest.fixture(scope="module")
def alone(late, tiny_commands, tmp_path_factory):
    return Layout(tiny_commands, tmp_path_factory.mktemp("alone"), 1, 1).result()


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


@pytest.mark.process
@pytest.mark.slow
def test_sigterm_of_one_saves_in_all_and_eight_devices_go_on(alone, tiny_commands, tmp_path):
    both = Layout(tiny_commands, tmp_path, 2, 2, "--config.checkpoint_minutes=0")
    both.wait_for("epoch   1/")
    both.all[1].send_signal(signal.SIGTERM)
    assert both.wait() == [75, 75], both.said()
    layout = Layout(tiny_commands, tmp_path, 1, 8)
    result = layout.result()
    assert result[0]["devices"]["count"] == 8
    assert_same(result, alone)
    assert re.search("resuming after [12] epochs? ", layout.all[0].said())


@pytest.mark.process
@pytest.mark.slow
def test_killed_process_is_named_at_once_and_the_job_goes_on(
    alone, tiny_commands, tmp_path, monkeypatch
):
    """Both processes do what one does, before and after. The second neither speaks nor writes."""
    both = Layout(tiny_commands, tmp_path, 2, 2, "--config.checkpoint_minutes=0", slurm=True)
    both.wait_for("epoch   1/")
    while len(both.saved()) < 2:
        time.sleep(0.01)
    both.all[1].kill()
    began = time.monotonic()
    assert both.wait() == [75, -signal.SIGKILL], both.said()
    assert time.monotonic() - began < 20
    said = both.all[0].said()
    assert said.count("error: process 1 is gone: give all commands again") == 1
    assert "Traceback" not in said
    # On top of that, the last checkpoint is damaged: both take the one before.
    newest = both.saved()[-1]
    array = max((newest / "training").rglob("d/*"), key=lambda path: path.stat().st_size)
    array.write_bytes(array.read_bytes()[:-1])
    again = Layout(tiny_commands, tmp_path, 2, 2, slurm=True)
    result = again.result()
    assert result[0]["devices"]["count"] == 4
    assert_same(result, alone)
    said, other = again.said()
    assert said.count(f"{newest.name} is damaged ('training/") == 1
    assert "resuming after" in said
    for words in ("damaged", "epoch", "images/s"):
        assert words not in other
    assert newest.with_name(f"damaged-{newest.name}").is_dir()
    # A process with fewer devices answers from the checkpoint.
    tiny_run.make_small(monkeypatch)
    assert len(predictor.load(str(both.workdir / "run")).class_names) == 50


@pytest.mark.process
@pytest.mark.slow
def test_sigterm_before_training_ends_all(tiny_commands, tmp_path):
    """JAX would catch it, and the run would go on."""
    both = Layout(tiny_commands, tmp_path, 2, 2)
    both.wait_for("workdir")
    both.all[1].send_signal(signal.SIGTERM)
    assert both.wait(60) == [75, -signal.SIGTERM], both.said()
    assert "process 1 is gone" in both.all[0].said()


LATE = """
import os, sys, time
import jax
import numpy as np
from cifsel.runtime import sharding
process = 0 if os.fork() else 1
with sharding.connected(f"localhost:{sys.argv[1]}", 2, process):
    x = sharding.divide(np.arange(4, dtype=np.float32), 0)
    time.sleep(35 * process)
    print(float(jax.jit(lambda x: x.sum(), out_shardings=sharding.replicated())(x)), flush=True)
"""


@pytest.fixture(scope="module")
def late():
    """Two processes, of which one is late. They wait while other tests of this module run."""
    return subprocess.Popen(
        [sys.executable, "-c", LATE, str(ports.free())],
        cwd=REPO,
        env=os.environ | with_devices(2),
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.process
@pytest.mark.slow
def test_a_process_may_compile_for_longer_than_gloo_waits(late):
    """All devices are connected at the start, not by the first sum that a program needs."""
    said, _ = late.communicate(timeout=240)
    # Lines of Gloo's may come before.
    assert said.split()[-2:] == ["6.0", "6.0"]


@pytest.mark.slow
def test_auto_names_who_is_missing(monkeypatch):
    expected = ("processes 1, 2 of 3 did not start", "process 0 of 3 was not found at local")
    for process, words in enumerate(expected):
        for name, value in as_slurm_would(os.getpid(), 3, process).items():
            monkeypatch.setenv(name, value)
        with (
            pytest.raises(UserError, match=f"^{words}"),
            sharding.connected("auto", 1, 0, timeout=2),
        ):
            pytest.fail("connected")


def test_auto_where_nobody_knows():
    words = "nothing here says which processes take part: give host:port"
    with pytest.raises(UserError, match=words), sharding.connected("auto", 1, 0, timeout=2):
        pytest.fail("connected")


def test_a_batch_that_devices_cannot_share(monkeypatch):
    monkeypatch.setattr("jax.device_count", lambda: 8)
    sharding.check_batch(128, 4)
    with pytest.raises(UserError, match=r"batch_size is 100; expected a multiple of 8.*give 104"):
        sharding.check_batch(100, 1)
    assert sharding.divisible(50) == 56
