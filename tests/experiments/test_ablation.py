"""The record of the ablation is enough for its table, without the runs."""

import base64
import dataclasses

import numpy as np
import pytest

from experiments import RESULTS, ablation

IMAGES = 1003  # No multiple of 8.
REFERENCE = np.arange(IMAGES) % 2 == 0


def recorded(name, right, seconds=120.0):
    return ablation.Recorded(
        run=name,
        validation_by_epoch=[0.1, float(right.mean())],
        training_by_epoch=[0.1, 0.9],
        probe_validation=0.5,
        training_seconds=seconds,
        finished="2026-11-22T14:00:39+00:00",
        git_commit="0123456",
        validation_images=len(right),
        right=base64.b64encode(np.packbits(right)).decode(),
    )


@pytest.fixture
def record():
    """A base with two seeds. A change with one of them has one more image in ten right."""
    better = REFERENCE | (np.arange(IMAGES) % 10 == 1)
    runs = [
        recorded("mobilenet-base-seed0", REFERENCE),
        recorded("mobilenet-base-seed1", REFERENCE),
        recorded("mobilenet-rate-1e-4-seed1", better, seconds=90.0),
        recorded("mobilenet-sgd-seed2", better),
    ]
    return {run.run: run for run in runs}


def cells(row):
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_a_row_pairs_a_change_with_the_base_of_its_own_seeds(record):
    row = cells(ablation.row(record, "mobilenet", "rate-1e-4"))
    assert row[:3] == ["`learning_rate=0.0001`", "60.1 %", "+10.1"]
    low, high = (float(end) for end in row[3].split(" to "))
    assert 8.0 < low < 10.1 < high < 12.1
    assert row[4:] == ["1", "1.5", "2026-11-22"]


def test_without_a_base_of_that_seed_there_is_no_row(record):
    assert ablation.row(record, "mobilenet", "sgd") is None


def test_a_run_recorded_without_its_images_has_a_gain_and_no_interval(record):
    base = record["mobilenet-base-seed1"]
    record[base.run] = dataclasses.replace(base, right="", validation_images=0)
    row = cells(ablation.row(record, "mobilenet", "rate-1e-4"))
    assert row[2:4] == ["+10.1", ""]


def test_the_table_has_the_rows_of_a_model(record):
    lines = ablation.table(record, "mobilenet").splitlines()
    assert [line.split(" |")[0] for line in lines] == [
        "| mobilenet: change",
        "| ---",
        "| base",
        "| `learning_rate=0.0001`",
    ]
    assert "| 50.0 % |  |  | 0, 1 |" in lines[2]
    assert len(ablation.table(record, "efficientnetv2-b0").splitlines()) == 2


def test_bits_of_a_record_are_those_of_the_run():
    right = np.random.default_rng(0).random(IMAGES) < 0.7
    assert np.array_equal(recorded("any", right).right_images, right)


@pytest.mark.parametrize(("name", "images"), [("ablation", 2500), ("ablation-first", 0)])
def test_the_committed_records_can_be_read(name, images):
    for run_name, run in ablation.recorded(RESULTS / f"{name}.json").items():
        assert run_name == run.run
        assert run.validation_images == images
        if images:
            assert run.right_images.mean() == pytest.approx(run.accuracy, abs=1e-6)
