"""A few points of the crash matrix, and the checks that it makes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.robustness import crash_matrix, run_results

ROOT = Path(__file__).parents[2]
RUN = (
    "--config=configs/quickstart.py --config.task=task1 --config.model=efficientnetv2-mini"
    " --config.epochs=2 --config.train_examples=200 --config.test_examples=100"
    " --config.checkpoint_minutes=0.0 --config.val_per_class=4"
)


@pytest.mark.process
@pytest.mark.slow
def test_a_run_that_is_disturbed_ends_like_one_that_is_not(tmp_path):
    ways = ["SIGKILL", "SIGTERM"]
    ways += [way for way in ("full",) if crash_matrix.impossible(way) is None]
    command = "experiments.robustness.crash_matrix"
    line = [sys.executable, "-m", command, f"--output={tmp_path / 'out'}"]
    done = subprocess.run(
        [*line, f"--points={len(ways)}", "--ways", *ways, "--", *RUN.split()],
        cwd=ROOT,
        env=os.environ | {"CIFSEL_CACHE": str(tmp_path), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"^{len(ways)} disturbances in \d+ runs, 0 wrong$", done.stdout, re.M)
    for way in ways:
        assert f": {way}: " in done.stdout


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps({"accuracy": 0.5, "seconds": 3.0}))
    np.savez(folder / "predictions.npz", logits=np.arange(6.0))
    (folder / "report.html").write_text("<html></html>\n")
    return folder


def test_other_results_are_noticed_and_other_times_are_not(run):
    before = run_results.results(run)
    (run / "metrics.json").write_text(json.dumps({"accuracy": 0.5, "seconds": 4.0}))
    assert run_results.differences(before, run_results.results(run)) == []
    (run / "metrics.json").write_text(json.dumps({"accuracy": 0.6, "seconds": 3.0}))
    assert run_results.differences(before, run_results.results(run)) == ["metrics.json/accuracy"]
    (run / "predictions.npz").unlink()
    assert "predictions.npz" in run_results.differences(before, run_results.results(run))


@pytest.mark.parametrize("name", ["metrics.json", "predictions.npz", "report.html"])
def test_half_a_file_is_noticed(run, name):
    run_results.check_whole(run)
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(run_results.Wrong, match=f"{name} is not whole"):
        run_results.check_whole(run)


@pytest.mark.parametrize("name", [".metrics.json.0f", "cache/train.npy", "checkpoints/3.tmp-1/x"])
def test_what_is_left_over_is_noticed(run, name):
    assert run_results.left_over(run) == []
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).touch()
    assert name in run_results.left_over(run)
