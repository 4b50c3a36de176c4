"""Validation decides, the cheaper candidate wins a draw, and test images are not used."""

import numpy as np
import pytest

from cifsel.comparison import paired, scores
from cifsel.comparison.candidates import group_into_candidates
from cifsel.comparison.runs import read_run
from cifsel.comparison.verdict import decide, sentence_on_test, sentence_on_validation


def read(folders):
    return group_into_candidates([read_run(folder) for folder in folders])


def folders(make_run, tmp_path, **wrong):
    """One run of each model: wrong images of MobileNet and of B0, of validation and test."""
    names = {"mobilenet": "mobilenet", "b0": "efficientnetv2-b0"}
    return [
        make_run(tmp_path / short, name, dict(zip(("val", "test"), wrong[short], strict=True)))
        for short, name in names.items()
    ]


def test_clear_winner_is_chosen_though_it_costs_more(pair):
    verdict = decide(read(pair))
    assert verdict.chosen.name == "EfficientNetV2-B0"
    assert not verdict.within_noise
    expected = (
        "EfficientNetV2-B0 is better than MobileNet: 95.0 % of the validation images right against"
        " 51.0 % (p < 0.001)."
    )
    assert sentence_on_validation(verdict) == expected
    text = sentence_on_test(verdict)
    assert "On the 100 test images, which had no say" in text
    assert "a difference of +44.0 points" in text


def test_a_draw_goes_to_the_cheaper(make_run, tmp_path):
    """B0 is ahead by one validation image, which is noise, and far ahead on test images."""
    runs = folders(make_run, tmp_path, mobilenet=([1, 2], range(60)), b0=([3], []))
    verdict = decide(read(runs))
    assert verdict.leader.name == "EfficientNetV2-B0"
    assert verdict.chosen.name == "MobileNet"
    assert verdict.within_noise
    text = sentence_on_validation(verdict)
    assert "within noise" in text
    assert "MobileNet is preferred, as it needs 0.60 times the arithmetic" in text


def test_test_images_have_no_say(make_run, tmp_path):
    runs = folders(make_run, tmp_path, mobilenet=(range(40), []), b0=([], range(40)))
    verdict = decide(read(runs))
    assert verdict.chosen.name == "EfficientNetV2-B0"
    assert verdict.differences["test"].mean == pytest.approx(-0.4)


def test_of_three_the_cheapest_of_the_equals_wins(make_run, tmp_path):
    three = [
        make_run(tmp_path / "a", "efficientnetv2-b0", {"val": [0], "test": []}),
        make_run(tmp_path / "b", "mobilenet", {"val": [1, 2], "test": []}),
        make_run(tmp_path / "c", "mobilenet", {"val": range(50), "test": []}, image_size=64),
    ]
    verdict = decide(read(three))
    assert verdict.chosen.name == "MobileNet (image_size 32)"
    assert verdict.rival.name == "EfficientNetV2-B0"


def test_scores_and_costs_are_means_over_seeds(make_run, tmp_path):
    made = [
        make_run(
            tmp_path / str(seed), "mobilenet", {"val": [], "test": range(10 * seed)}, seed=seed
        )
        for seed in (0, 1, 2)
    ]
    made.append(make_run(tmp_path / "b0", "efficientnetv2-b0", {"val": [], "test": []}))
    mobilenet, _ = read(made)
    test = scores.candidate_scores(mobilenet, "test")
    assert test.accuracy.by_seed == pytest.approx([1.0, 0.9, 0.8])
    assert test.accuracy.mean == pytest.approx(0.9)
    losses = [run.metrics.test.loss for run in mobilenet.runs]
    assert test.loss == pytest.approx(np.mean(losses))
    cost = scores.candidate_cost(mobilenet)
    assert cost.flops_per_image == 2 * 3e8  # Both views of each image.
    assert (cost.fitting_seconds, cost.total_seconds) == (61.0, 63.0)


def test_coarse_labels_are_compared_on_their_own_images(make_run, tmp_path, dataset):
    coarse = dataset.coarse_of[dataset.test.labels]
    wrong = np.flatnonzero(coarse == 3)
    mobilenet, b0 = read(folders(make_run, tmp_path, mobilenet=([], wrong), b0=([], [])))
    rows = scores.compare_coarse_labels(b0, mobilenet, dataset.coarse_of, dataset.coarse_names)
    assert [row.name for row in rows] == list(dataset.coarse_names)
    assert [row.b for row in rows] == [float(i != 3) for i in range(10)]
    assert rows[3].difference.mean == 1.0
    expected = paired.mcnemar(len(wrong), 0)
    assert rows[3].difference.p == pytest.approx(expected)
