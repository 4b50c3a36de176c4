"""The benchmark does the work that it names, and its table divides the right numbers."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from cifsel.data.photos import crops
from cifsel.models import classifier
from cifsel.prediction import predictor
from cifsel.runtime import memory
from experiments.bench import __main__ as command
from experiments.bench import bulk, entries, machine, measure, work

pytestmark = pytest.mark.slow

IDLE_WORKER = """import json, sys
print(json.dumps({}), flush=True)
for line in sys.stdin:
    print(json.dumps({"seconds": 1.0, "page_faults": 0, "peak_gigabytes": 1.0}), flush=True)
"""


def test_a_worker_does_what_it_is_told(monkeypatch):
    kinds = ("forward", "pipeline")
    monkeypatch.setattr(work, "KINDS", kinds)
    monkeypatch.setattr(measure, "WARM_UP", 1)
    measured = measure.measure(
        ["cifsel"], "efficientnetv2-mini", 32, 2, dtype="float32", rounds=2, processes=1
    )
    assert [entry.kind for entry in measured] == list(kinds)
    for entry in measured:
        assert len(entry.seconds) == 2
        assert len(entry.seconds_by_process) == 1
        assert entry.images_per_second > 0
        assert entry.peak_gigabytes > 0.1


def do_all(kinds):
    """Does each kind of work once, on two images of 32 pixels."""
    assert tuple(kinds) == work.KINDS
    answers = {name: do() for name, do in kinds.items()}
    assert answers["forward"].shape == (2, work.CLASSES)
    assert np.isfinite(answers["forward"]).all()
    assert answers["pipeline"].shape == (2, 32, 32, 3)


def test_cifsel_does_every_kind_of_work(monkeypatch, build_tiny):
    monkeypatch.setattr(classifier, "build", build_tiny)
    monkeypatch.setattr(memory, "keep_freed", lambda: None)
    do_all(work.ours("mobilenet", 32, 2, "float32"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_keras_does_every_kind_of_work(monkeypatch):
    keras, made = pytest.importorskip("keras"), []
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")

    def tiny(*, input_shape, **_):
        layers = [keras.Input(input_shape), keras.layers.Conv2D(3, 3, 4)]
        layers += [keras.layers.BatchNormalization(), keras.layers.GlobalAveragePooling2D()]
        made.append(keras.Sequential(layers))
        return made[-1]

    monkeypatch.setattr(keras.applications, "MobileNet", tiny)
    kinds = work.keras("mobilenet", 32, 2, "float32", backend="tensorflow")
    do_all(kinds)
    fixed, trained = (np.asarray(net.layers[1].moving_mean) for net in made)
    assert trained.any()
    assert not fixed.any()
    outputs = [np.asarray(kinds["pipeline"]()) for _ in range(3)]
    assert not all(np.array_equal(outputs[0], output) for output in outputs)  # It augments.


def test_a_worker_that_fails_says_why(tmp_path):
    with pytest.raises(SystemExit, match="no-such-model"):
        measure.Worker("cifsel", "no-such-model", 32, 2, "float32", cache=str(tmp_path))


def test_a_checkout_is_measured_by_its_own_code(tmp_path):
    worker = tmp_path / "experiments/bench/worker.py"
    worker.parent.mkdir(parents=True)
    for folder in (worker.parent, worker.parent.parent):
        (folder / "__init__.py").touch()
    worker.write_text(IDLE_WORKER.replace('"seconds": 1.0', '"seconds": 3.0'))
    peer = command.peer(f"cifsel@{tmp_path}")
    measured = measure.measure([peer], "mobilenet", 32, 6, dtype="float32", rounds=2, processes=2)
    assert [entry.images_per_second for entry in measured] == [2.0] * len(work.KINDS)


@pytest.mark.parametrize("peer", ["keras", "cifsel@", "cifsel@/nowhere", "torch-timm@/tmp"])
def test_what_is_no_peer_is_refused(peer, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        command.parser().parse_args(["--peers", peer])
    assert f"{peer}: " in capsys.readouterr().err


def entry(peer, seconds):
    """One call of 8 images in each process."""
    repeated = [
        {
            "kind": "train, fixed BN",
            "peer": peer,
            "seconds": [of_process] * 4,
            "first_seconds": 9.0,
            "page_faults": 0,
            "peak_gigabytes": of_process,
            "start_seconds": 1.0,
        }
        for of_process in seconds
    ]
    return measure.combined(repeated, model="mobilenet", size=128, batch=8, dtype="float32")


def test_a_row_has_speeds_the_ratio_and_the_share_of_the_matrix_rate():
    both = [entry("cifsel", [0.1]), entry("keras-tensorflow", [0.2])]
    limits = entries.Machine("cpu", "1 x cpu", "3", "0", 240.0, 1.0, {"mobilenet": {"128": 0.5}})
    (row,) = entries.rows(both, ["cifsel", "keras-tensorflow"], limits)
    # 80 images a second, three passes of half a GFLOP each, of 240.
    assert row.split(" | ")[3:7] == ["80 ± 0", "40 ± 0", "2.00", "50 %"]


def test_operations_are_those_of_the_paper():
    # Table 4 of the MobileNet paper: 569 million multiply-adds at 224 px.
    assert machine.forward_gflops("mobilenet", 224) / 2 == pytest.approx(0.569, rel=0.06)


def test_the_ratio_is_that_of_the_medians_with_its_range_over_processes():
    ours, theirs = entry("cifsel", (1.0, 2.0, 4.0)), entry("keras-tensorflow", (3.0, 3.0, 2.0))
    assert (ours.images_per_second, ours.compile_seconds) == (4.0, 8.0)
    assert ours.peak_gigabytes == 4.0
    assert entries.ratio(ours, theirs) == "1.50 (0.50 to 3.00)"


def test_predict_in_bulk_does_the_same_work_as_its_parts(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(bulk, "SIZES", {"small": (64, 48)})
    passes = []

    def logits(shown):
        passes.append(len(shown))
        return np.zeros((len(shown), 2))

    def load(_):
        return predictor.Predictor(
            task="selfie",
            class_names=("a", "b"),
            sure_from=None,
            size=16,
            detail=16,
            temperature=1.0,
            cropper=crops.Cropper("none"),
            needs_face=False,
            logits=logits,
            evidence=lambda *_: pytest.fail(),
        )

    monkeypatch.setattr(bulk, "load", load)
    bulk.run("", 6, 1, tmp_path / "bulk.json")
    # A warm-up and a round, each with the forward pass alone and with decoding.
    assert passes == [4, 2] * 4
    assert json.loads((tmp_path / "bulk.json").read_text())["photos"] == 6
    speed = bulk.Speed("small", decode=4.0, forward=12.0, predict=3.0)
    assert (speed.of_slower, speed.of_both) == (0.75, 1.0)
    assert "| small | 4.0 | 12.0 | 3.0 | 0.75 | 1.00 |" in bulk.table([speed])


def is_stopped(worker):
    """Whether the process is stopped, within a second after the signal."""
    for _ in range(100):
        text = (Path("/proc") / str(worker.pid) / "stat").read_text()
        if text.rpartition(") ")[2][0] == "T":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_worker_is_stopped_unless_it_works(tmp_path):
    """Threads that spin while they wait would slow the next peer."""
    worker = tmp_path / "experiments/bench/worker.py"
    worker.parent.mkdir(parents=True)
    for folder in (worker.parent, worker.parent.parent):
        (folder / "__init__.py").touch()
    worker.write_text(IDLE_WORKER)
    with measure.Worker(f"cifsel@{tmp_path}", "m", 32, 2, "float32", cache="") as idle:
        assert is_stopped(idle)
        assert idle.do("forward")["seconds"] == 1.0
        assert is_stopped(idle)
    assert not (Path("/proc") / str(idle.pid)).exists()


def test_a_peer_without_a_kind_of_work_has_no_cell_and_no_turn():
    assert list(measure._that_do("forward", {"cifsel@/x": None, "openvino": None})) == [
        "cifsel@/x",
        "openvino",
    ]
    assert list(measure._that_do("pipeline", {"cifsel": None, "openvino": None})) == ["cifsel"]
    limits = entries.Machine("cpu", "1 x cpu", "3", "0", 240.0, 1.0, {"mobilenet": {"128": 0.5}})
    peers = ["cifsel", "openvino", "keras-jax"]
    (row,) = entries.rows([entry("cifsel", [0.1]), entry("keras-jax", [0.2])], peers, limits)
    assert row.split(" | ")[3:8] == ["80 ± 0", "", "40 ± 0", "", "2.00"]
