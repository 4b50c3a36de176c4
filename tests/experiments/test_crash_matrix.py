"""A few points of the crash matrix, and the checks that it makes."""

import json
import re
import signal
import sys

import numpy as np
import pytest
from etils import epath

from cifsel.workdir import checksums
from experiments.robustness import crash_matrix, run_results

RUN = (
    "--config=configs/effnet.py --config.dataset=drawn --config.weights=none"
    " --config.init_head=random --config.image_size=32 --config.train_size=0"
    " --config.batch_size=20 --config.epochs=2 --config.checkpoint_minutes=0.0"
)


@pytest.mark.process
@pytest.mark.slow
def test_a_run_that_is_disturbed_ends_like_one_that_is_not(
    tiny_commands, tmp_path, monkeypatch, capsys
):
    def start(matrix, log):
        matrix.workdir.mkdir(exist_ok=True)
        log.touch()
        return tiny_commands.start(log, *matrix.arguments, f"--workdir={matrix.workdir}")

    shows_help = crash_matrix.Matrix(["--help"], tmp_path, tmp_path)
    assert shows_help.start(tmp_path / "help").wait(60) == 0
    assert "cifsel.main" in (tmp_path / "help").read_text()
    monkeypatch.setattr(crash_matrix.Matrix, "start", start)
    monkeypatch.setattr(crash_matrix.command, "start", lambda: None)
    # SIGTERM in test_sharding.py and test_gcs_runs.py.
    ways = ["SIGKILL", *(way for way in ("full",) if crash_matrix.impossible(way) is None)]
    given = ["crash_matrix", f"--output={tmp_path / 'out'}", f"--points={len(ways)}"]
    monkeypatch.setattr(sys, "argv", [*given, "--ways", *ways, "--", *RUN.split()])
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        crash_matrix.main()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    said = capsys.readouterr().out
    assert re.search(rf"^{len(ways)} disturbances in \d+ runs?, 0 wrong$", said, re.M), said
    for way in ways:
        assert f": {way} after " in said


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps({"accuracy": 0.5, "seconds": 3.0}))
    np.savez(folder / "predictions.npz", logits=np.arange(6.0))
    (folder / "report.html").write_text("<html></html>\n")
    return folder


def test_other_results_are_noticed_and_other_times_are_not(run):
    (run / "comparison.json").write_text(json.dumps({"inputs": ["digest of the times"], "p": 0.1}))
    before = run_results.results(run)
    (run / "metrics.json").write_text(json.dumps({"accuracy": 0.5, "seconds": 4.0}))
    (run / "comparison.json").write_text(json.dumps({"inputs": ["of others"], "p": 0.1}))
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


def test_the_newest_checkpoints_are_whole_and_an_older_one_may_be_half_deleted(run):
    for step in (9, 10, 11):
        file = run / "checkpoints" / str(step) / "model" / "array"
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(8))
        checksums.write(epath.Path(file.parent.parent))
    (run / "checkpoints/9/checksums.json").unlink()
    run_results.check_whole(run)
    (run / "checkpoints/10/checksums.json").unlink()
    with pytest.raises(run_results.Wrong, match=r"10 is not whole: checksums\.json is missing"):
        run_results.check_whole(run)


@pytest.mark.parametrize("name", [".metrics.json.0f", "cache/train.npy", "checkpoints/3.tmp-1/x"])
def test_what_is_left_over_is_noticed(run, name):
    assert run_results.left_over(run) == []
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).touch()
    assert name in run_results.left_over(run)
