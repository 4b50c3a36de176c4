"""The threshold of suspected labels is the one that people's answers choose."""

import argparse
import json
import re

import numpy as np
import pytest

from cifsel.comparison import label_errors
from experiments import label_doubts

IMAGES = 1_000


def suspects_of(rejected_from, rng=None):
    """300 suspects. People looked at two thirds, and reject those from a probability on."""
    rng = rng or np.random.default_rng(0)
    probability = rng.uniform(0.3, 1, 300)
    looked_at = rng.random(300) < 2 / 3
    rejected = looked_at & (probability >= rejected_from)
    return label_doubts.Suspects(rng.permutation(IMAGES)[:300], probability, looked_at, rejected)


def test_the_lowest_threshold_is_chosen_at_which_people_reject_half():
    everything = np.ones(IMAGES, bool)
    # People reject all from .8 on: half of those from .6 on.
    chosen = label_doubts.choose(suspects_of(0.8), everything)
    assert chosen == pytest.approx(0.6, abs=0.05)
    suspects = suspects_of(0.8)
    _, looked_at, rejected = suspects.counts(chosen, everything)
    assert rejected >= looked_at / 2
    _, looked_at, rejected = suspects.counts(chosen - 0.05, everything)
    assert rejected < looked_at / 2
    assert label_doubts.choose(suspects_of(2.0), everything) == label_doubts.THRESHOLDS[-1]


def test_what_a_half_chose_is_counted_on_the_other():
    made = label_doubts.over_halves(suspects_of(0.8), IMAGES)
    assert sum(made["times_chosen"].values()) == made["halves"] == label_doubts.HALVES
    assert made["chosen"] == pytest.approx(0.6, abs=0.051)
    assert 0.45 < made["share_on_other_halves"] < 0.6
    # With labels that people reject at random, no threshold is worth more than another.
    noise = suspects_of(0.3)
    luck = np.random.default_rng(1).random(300) < 0.3
    noise = label_doubts.Suspects(
        noise.position, noise.probability, noise.looked_at, noise.looked_at & luck
    )
    assert label_doubts.over_halves(noise, IMAGES)["share_on_other_halves"] < 0.4


def test_the_threshold_of_the_program_is_that_of_the_record():
    if not label_doubts.RECORD.exists():
        pytest.skip("no record yet: it takes two runs that were tested on all images")
    record = json.loads(label_doubts.RECORD.read_text())
    assert record["chosen"] == label_errors.MIN_PROBABILITY
    assert re.search(r"--config=configs/\w+\.py", record["runs"][0]["command"])


@pytest.mark.slow
def test_a_record_of_two_runs(make_run, dataset, tmp_path):
    folders = [
        make_run(tmp_path / model, model, {"val": np.arange(3), "test": np.arange(40)})
        for model in ("mobilenet", "efficientnetv2-b0")
    ]
    people, target = tmp_path / "people.csv", tmp_path / "record.json"
    lines = [f"{dataset.test.ids[at]},{'no' if at < 30 else 'yes'}" for at in range(50)]
    people.write_text("test_index,confirmed\n" + "\n".join(lines))
    flags = argparse.Namespace(runs=folders, reviewed=str(people), json=target)
    label_doubts.run(flags)
    record = json.loads(target.read_text())
    assert (record["images"], record["all"]["rejected"], record["all"]["looked_at"]) == (
        100,
        30,
        50,
    )
    assert [run["accuracy"]["mean"] for run in record["runs"]] == [0.6, 0.6]
    assert record["runs"][0]["accuracy_without_rejected"]["mean"] == pytest.approx(60 / 70)
    # All 40 mistakes are made with confidence by both.
    assert record["thresholds"][0]["suspects"] == 40
    assert record["thresholds"][0]["rejected"] == 30
