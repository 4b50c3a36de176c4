"""The ablation's record is enough for its table, whatever became of the runs."""

import base64

import numpy as np
import pytest

from experiments import RESULTS, ablation

IMAGES = 1003  # No multiple of 8.


def recorded(name, right, seconds=120.0):
    return {
        "run": name,
        "training_seconds": seconds,
        "validation_images": len(right),
        "right": base64.b64encode(np.packbits(right)).decode(),
    }


@pytest.fixture
def found():
    """A base with two seeds and a change that has one more image in ten right, with one."""
    base = np.arange(IMAGES) % 2 == 0
    better = base | (np.arange(IMAGES) % 10 == 1)
    runs = [
        recorded("mobilenet-base-seed0", base),
        recorded("mobilenet-base-seed1", base),
        recorded("mobilenet-rate-1e-4-seed1", better, seconds=90.0),
        recorded("mobilenet-sgd-seed2", better),
    ]
    return {run["run"]: run for run in runs}


def test_a_row_pairs_a_change_with_the_base_of_its_own_seeds(found):
    row = ablation.row(found, "mobilenet", "rate-1e-4")
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == "`learning_rate=0.0001`"
    assert cells[1] == "60.1 %"
    assert cells[2] == "+10.1"
    low, high = (float(end) for end in cells[3].split(" to "))
    assert 8.0 < low < 10.1 < high < 12.1
    assert cells[4:] == ["1", "1.5"]


def test_without_a_base_of_that_seed_there_is_no_row(found):
    assert ablation.row(found, "mobilenet", "sgd") is None


def test_a_run_recorded_without_its_images_has_no_row(found):
    del found["mobilenet-base-seed1"]["right"]
    assert ablation.row(found, "mobilenet", "rate-1e-4") is None


def test_the_table_has_the_rows_of_both_models(found):
    lines = ablation.table(found).splitlines()
    assert [line.split(" |")[0] for line in lines if line.startswith("| ")] == [
        "| efficientnetv2-b0: change",
        "| ---",
        "| mobilenet: change",
        "| ---",
        "| base",
        "| `learning_rate=0.0001`",
    ]
    assert "| 50.0 % |  |  | 0, 1 |" in ablation.table(found)


def test_bits_of_a_record_are_those_of_the_run():
    right = np.random.default_rng(0).random(IMAGES) < 0.7
    assert np.array_equal(ablation.right_of(recorded("any", right)), right)


def test_the_committed_record_can_be_read():
    path = RESULTS / "ablation.json"
    for name, run in ablation.recorded(path).items():
        assert name == run["run"]
        if "right" in run:
            # What was recorded of the run and what its bits say is one thing.
            assert ablation.right_of(run).mean() == pytest.approx(
                max(run["validation_by_epoch"]), abs=1e-6
            )
