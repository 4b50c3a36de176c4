"""The benchmark does the work it names, and its table divides the right numbers."""

import pytest

from experiments.bench import __main__ as bench
from experiments.bench import machine, work


@pytest.mark.parametrize("peer", ["cifsel", "keras-tensorflow"])
def test_a_worker_does_every_kind_of_work(peer):
    found = bench.measure([peer], "mobilenet", 32, 2, dtype="float32", rounds=2, processes=1)
    assert [entry["kind"] for entry in found] == list(work.KINDS)
    for entry in found:
        assert len(entry["seconds"]) == 2
        assert len(entry["seconds_by_process"]) == 1
        assert entry["images_per_second"] > 0
        assert entry["peak_gigabytes"] > 0.1


def test_a_worker_that_fails_says_why(tmp_path):
    with pytest.raises(SystemExit, match="no-such-model"):
        bench.Worker("cifsel", "no-such-model", 32, 2, "float32", cache=str(tmp_path))


def test_a_checkout_is_measured_by_its_own_code(tmp_path):
    worker = tmp_path / "experiments/bench/worker.py"
    worker.parent.mkdir(parents=True)
    for folder in (worker.parent, worker.parent.parent):
        (folder / "__init__.py").touch()
    worker.write_text(
        """import json, sys
print(json.dumps({}), flush=True)
for line in sys.stdin:
    print(json.dumps({"seconds": 3.0, "page_faults": 0, "peak_gigabytes": 1.0}), flush=True)
"""
    )
    peer = bench.peer(f"cifsel@{tmp_path}")
    found = bench.measure([peer], "mobilenet", 32, 6, dtype="float32", rounds=2, processes=2)
    assert [entry["images_per_second"] for entry in found] == [2.0] * len(work.KINDS)


@pytest.mark.parametrize("peer", ["keras", "cifsel@", "cifsel@/nowhere", "torch-timm@/tmp"])
def test_what_is_no_peer_is_refused(peer, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        bench.parser().parse_args(["--peers", peer])
    assert f"{peer}: " in capsys.readouterr().err


def test_a_row_has_speeds_the_ratio_and_the_share_of_the_matrix_rate():
    common = {"model": "mobilenet", "size": 128, "batch": 8, "kind": "train, fixed BN"}
    entries = [
        {**common, "peer": peer, "seconds": [seconds] * 4, "seconds_by_process": [seconds],
         "images_per_second": 8 / seconds, "compile_seconds": 1.5, "peak_gigabytes": 2.0}
        for peer, seconds in (("cifsel", 0.1), ("keras-tensorflow", 0.2))
    ]  # fmt: skip
    rates = {"forward_gflops": {"mobilenet": {"128": 0.5}}, "matmul_gflops": 240.0}
    (row,) = bench.table(entries, ["cifsel", "keras-tensorflow"], rates)
    # 80 images a second, three passes of half a GFLOP each, of 240.
    assert row.split(" | ")[3:7] == ["80 ± 0", "40 ± 0", "2.00", "50 %"]


def test_operations_are_those_of_the_paper():
    # Table 4 of the MobileNet paper: 569 million multiply-adds at 224 px.
    assert machine.forward_gflops("mobilenet", 224) / 2 == pytest.approx(0.569, rel=0.06)


def test_the_ratio_is_that_of_the_medians_with_its_range_over_processes():
    ours, theirs = (
        bench.together(
            tuple(
                {"kind": "forward", "peer": peer, "seconds": [seconds] * 3, "first_seconds": 9.0,
                 "page_faults": 0, "peak_gigabytes": seconds, "start_seconds": 1.0}
                for seconds in by_process
            ),
            batch=8,
        )
        for peer, by_process in (("cifsel", (1.0, 2.0, 4.0)), ("keras-tensorflow", (3.0, 3.0, 2.0)))
    )  # fmt: skip
    assert (ours["images_per_second"], ours["compile_seconds"]) == (4.0, 8.0)
    assert ours["peak_gigabytes"] == 4.0
    assert bench.ratio(ours, theirs) == "1.50 (0.50 to 3.00)"
