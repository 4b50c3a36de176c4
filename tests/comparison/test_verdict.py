"""Who wins: validation decides, the cheaper one wins a draw, test has no say."""

import numpy as np
import pytest

from cifsel.comparison import paired, runs, verdict


def decide(folders):
    found = runs.candidates([runs.read(folder) for folder in folders])
    return found, verdict.decide(found)


def folders(make_run, tmp_path, **wrong):
    """One run of each model: wrong images of MobileNet and of B0, of validation and test."""
    names = {"mobilenet": "mobilenet", "b0": "efficientnetv2-b0"}
    return [
        make_run(tmp_path / short, name, dict(zip(("val", "test"), wrong[short], strict=True)))
        for short, name in names.items()
    ]


def test_clear_winner_is_chosen_though_it_costs_more(pair):
    found, decided = decide(pair)
    assert found[decided.chosen].name == "EfficientNetV2-B0"
    assert not decided.within_noise
    expected = (
        "EfficientNetV2-B0 is better than MobileNet: 95.0 % of the validation images right against"
        " 51.0 % (p < 0.001)."
    )
    assert verdict.sentence(found, decided) == expected
    text = verdict.on_test(found, decided)
    assert "On the 100 test images, which had no say" in text
    assert "a difference of +44.0 points" in text


def test_a_draw_goes_to_the_cheaper(make_run, tmp_path):
    """B0 is one image ahead on validation, which is noise, and far ahead on test, which is mute."""
    found, decided = decide(
        folders(make_run, tmp_path, mobilenet=([1, 2], range(60)), b0=([3], []))
    )
    assert found[decided.leader].name == "EfficientNetV2-B0"
    assert found[decided.chosen].name == "MobileNet"
    assert decided.within_noise
    text = verdict.sentence(found, decided)
    assert "within noise" in text
    assert "MobileNet is preferred, as it needs 0.60 times the arithmetic" in text


def test_test_images_have_no_say(make_run, tmp_path):
    found, decided = decide(
        folders(make_run, tmp_path, mobilenet=(range(40), []), b0=([], range(40)))
    )
    assert found[decided.chosen].name == "EfficientNetV2-B0"
    assert decided.differences["test"].mean == pytest.approx(-0.4)


def test_of_three_the_cheapest_of_the_equals_wins(make_run, tmp_path):
    three = [
        make_run(tmp_path / "a", "efficientnetv2-b0", {"val": [0], "test": []}),
        make_run(tmp_path / "b", "mobilenet", {"val": [1, 2], "test": []}),
        make_run(tmp_path / "c", "mobilenet", {"val": range(50), "test": []}, image_size=64),
    ]
    found, decided = decide(three)
    assert found[decided.chosen].name == "MobileNet (image_size 32)"
    assert found[decided.rival].name == "EfficientNetV2-B0"


def test_scores_and_costs_are_means_over_seeds(make_run, tmp_path):
    made = [
        make_run(
            tmp_path / str(seed), "mobilenet", {"val": [], "test": range(10 * seed)}, seed=seed
        )
        for seed in (0, 1, 2)
    ]
    made.append(make_run(tmp_path / "b0", "efficientnetv2-b0", {"val": [], "test": []}))
    found, _ = decide(made)
    test = verdict.scores(found[0], "test")
    assert test["accuracy"]["by_seed"] == pytest.approx([1.0, 0.9, 0.8])
    assert test["accuracy"]["mean"] == pytest.approx(0.9)
    losses = [run.metrics["test"]["loss"] for run in found[0].runs]
    assert test["loss"] == pytest.approx(np.mean(losses))
    cost = verdict.cost(found[0])
    assert cost["flops_per_image"] == 2 * 3e8  # Both views of each image.
    assert (cost["fitting_seconds"], cost["total_seconds"]) == (61.0, 63.0)


def test_coarse_labels_are_compared_on_their_own_images(make_run, tmp_path, dataset):
    coarse = dataset.coarse_of[dataset.test.labels]
    wrong = np.flatnonzero(coarse == 3)
    found, _ = decide(folders(make_run, tmp_path, mobilenet=([], wrong), b0=([], [])))
    b0, mobilenet = found[1], found[0]
    rows = verdict.per_group(b0, mobilenet, dataset.coarse_of, dataset.coarse_names)
    assert [row["name"] for row in rows] == list(dataset.coarse_names)
    assert [row["b"] for row in rows] == [float(i != 3) for i in range(10)]
    assert rows[3]["difference"]["mean"] == 1.0
    expected = paired.mcnemar(len(wrong), 0)
    assert rows[3]["difference"]["p"] == pytest.approx(expected)
