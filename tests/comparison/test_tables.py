"""Tables say what the runs say."""

import numpy as np
import pytest

from cifsel.comparison import tables
from cifsel.comparison.candidates import group_into_candidates
from cifsel.comparison.runs import read_run
from cifsel.comparison.verdict import decide


@pytest.fixture
def candidates(pair):
    return group_into_candidates([read_run(folder) for folder in pair])


def rows(table):
    return {row[0]: row[1:] for row in table.rows}


def test_scores_of_several_seeds_with_their_spread(candidates):
    table = tables.score_table(candidates, np.ones(100, bool))
    assert table.head == ("", "MobileNet", "EfficientNetV2-B0")
    cells = rows(table)
    assert cells["of each seed, %"] == ("51.00, 51.00 (spread 0.00)", "95.00, 95.00 (spread 0.00)")
    assert cells["test accuracy (95 % interval)"][1].startswith("95.00 % (9")
    assert cells["GFLOPs per image, all views"] == ("0.600", "1.00")
    assert cells["time to fit a seed"] == ("61 s", "61 s")
    assert cells["parameters"] == ("0.00 M", "0.00 M")


def test_images_with_a_duplicate_are_left_out_of_a_single_row(candidates):
    # Images that B0 gets wrong with either seed are declared to have no duplicate.
    wrong = ~candidates[1].right("test").all(0)
    cells = rows(tables.score_table(candidates, wrong))
    assert cells["test accuracy without duplicates in training"][1].startswith("50.00 %")
    assert cells["test accuracy (95 % interval)"][1].startswith("95.00 %")


def test_differences_are_those_of_the_chosen_one(candidates):
    table = tables.difference_table(candidates, decide(candidates))
    assert table.head[0] == "EfficientNetV2-B0"
    cells = rows(table)
    assert cells["against MobileNet, test"][0] == "+44.00"
    assert cells["against MobileNet, validation"][4] == "0.00"  # The seeds are equally good.


def test_single_seeds_and_unequal_recipes_are_warned_of(make_run, tmp_path):
    none = {"val": [], "test": []}
    folders = [
        make_run(tmp_path / "a", "mobilenet", none),
        make_run(tmp_path / "b", "efficientnetv2-b0", none, epochs=3, drop_path=0.1),
    ]
    candidates = group_into_candidates([read_run(folder) for folder in folders])
    seeds, unequal = tables.warnings(candidates)
    assert "One seed" in seeds
    assert "epochs" in unequal
    # Of EfficientNetV2 alone, so no unfairness.
    assert "drop path" not in unequal
    fields = rows(tables.config_table(candidates))
    assert fields["epochs"] == ("10", "3")
    assert set(fields) == {"model", "epochs", "drop_path"}


def test_equal_terms_need_no_warning(candidates):
    assert tables.warnings(candidates) == []
