"""Sets of classes: their coverage is at least what was asked for, for few and many classes."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from cifsel.evaluation import prediction_sets, scoring


def draw(rng, runs, images, classes, sharpness):
    """Probabilities (runs, images, classes) of a miscalibrated model, and the true classes."""
    logits = rng.normal(0, sharpness, (runs, images, classes))
    true = scoring.softmax((logits / 2).reshape(-1, classes))  # The model is too sure by far.
    chosen = (true.cumsum(1) < rng.random((len(true), 1))).sum(1).clip(max=classes - 1)
    shape = runs, images
    said = scoring.softmax(logits.reshape(-1, classes)).reshape(*shape, classes)
    return said, chosen.reshape(shape)


@pytest.mark.parametrize("classes", [2, 50, 100])
@pytest.mark.parametrize("calibrated_on", [9, 19, 50, 500])
@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_coverage_holds_in_a_simulation(classes, calibrated_on, coverage):
    """Also for a model whose probabilities are far from true."""
    runs = 40 + (9_000 if classes == 2 else 2_000) // calibrated_on
    rng = np.random.default_rng(classes * calibrated_on)
    probabilities, labels = draw(rng, runs, calibrated_on + 20, classes, sharpness=3.0)
    covered = []
    for said, true in zip(probabilities, labels, strict=True):
        known, new = slice(calibrated_on), slice(calibrated_on, None)
        least = prediction_sets.threshold(said[known], true[known], coverage)
        members = prediction_sets.sets(said[new], least)
        covered.append(members[np.arange(20), true[new]].mean())
    error = np.std(covered) / np.sqrt(runs)
    assert np.mean(covered) > coverage - 3 * error
    # No more than needed, where the most probable class alone would not do.
    accuracy = np.mean(probabilities.argmax(2) == labels)
    if accuracy < coverage:
        assert np.mean(covered) < coverage + 1 / (calibrated_on + 1) + 3 * error


def test_threshold_is_the_quantile_of_the_next_image():
    """Of n + 1 images in random order, the new one is as likely in each place."""
    true = np.array([0.5, 0.1, 0.9, 0.7, 0.3, 0.2, 0.4, 0.6, 0.8])
    assert prediction_sets.threshold_of(true, 0.9) == 0.1
    assert prediction_sets.threshold_of(true, 0.8) == 0.2
    assert prediction_sets.threshold_of(true, 0.5) == 0.5
    assert prediction_sets.threshold_of(true, 0.91) == 0.0
    assert prediction_sets.threshold_of(true[:8], 0.9) == 0.0


@pytest.mark.parametrize(("coverage", "least"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19)])
def test_least_number_of_images(coverage, least):
    assert prediction_sets.least_examples(coverage) == least
    true = np.linspace(0.1, 0.9, least)
    assert prediction_sets.threshold_of(true, coverage) > 0
    assert prediction_sets.threshold_of(true[1:], coverage) == 0


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_refuses_other_coverages(coverage):
    with pytest.raises(ValueError, match="give a number between 0 and 1"):
        prediction_sets.threshold_of(np.ones(3), coverage)


def test_sets_hold_the_most_probable_class_and_all_that_reach_the_threshold():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.1, 0.2, 0.7]])
    assert prediction_sets.sets(probabilities, 0.3).tolist() == [
        [True, True, False],
        [True, True, False],
        [False, False, True],
    ]
    assert prediction_sets.sets(probabilities, 0.9).sum(1).tolist() == [1, 2, 1]
    assert prediction_sets.sets(probabilities, 0.0).all()


def test_score_counts_by_hand():
    val_logits = np.log(np.array([[0.7, 0.2, 0.1]] * 9, np.float32))
    val_labels = np.array([0] * 8 + [1], np.int32)
    test_logits = np.log(np.array([[0.7, 0.2, 0.1], [0.45, 0.35, 0.2]], np.float32))
    result = prediction_sets.score(
        val_logits,
        val_labels,
        test_logits,
        np.array([2, 1], np.int32),
        coarse_names=("mammal", "bird", "none"),
        coarse_of=np.array([0, 0, 1], np.int32),
        wanted=0.9,
    )
    assert result.threshold == pytest.approx(0.2)
    assert (result.calibrated_on, result.coverage, result.single) == (9, 0.5, 0.0)
    assert result.mean_size == 2.5
    assert result.interval == scoring.wilson(1, 2)
    mammal, bird, none = result.per_coarse.values()
    assert (mammal.coverage, mammal.mean_size, mammal.examples) == (1.0, 3.0, 1)
    assert (bird.coverage, bird.mean_size) == (0.0, 2.0)
    assert (none.examples, none.coverage, none.interval, none.mean_size) == (0, None, None, None)
    content = json.loads(json.dumps(dataclasses.asdict(result)))
    assert prediction_sets.SetScore.from_json(content) == result


def test_interval_of_the_mean_size_is_that_of_the_normal_distribution():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (400, 5)).astype(np.float32)
    labels = rng.integers(0, 5, 400).astype(np.int32)
    none = {"coarse_names": (), "coarse_of": np.zeros(0, np.int32)}
    result = prediction_sets.score(logits, labels, logits, labels, **none, wanted=0.6)
    sizes = prediction_sets.sets(scoring.softmax(logits), result.threshold).sum(1)
    expected = stats.norm.interval(0.95, sizes.mean(), sizes.std() / 20)
    assert result.mean_size_interval == pytest.approx(expected)
    assert result.per_coarse == {}


class TestHeldOut:
    def test_coverages_that_the_number_of_answers_allows(self):
        rng = np.random.default_rng(0)
        said = scoring.softmax(rng.normal(0, 1, (24, 2)))
        labels = rng.integers(0, 2, 24).astype(np.int32)
        of_24 = prediction_sets.of_held_out(said, labels)
        assert [made.wanted for made in of_24] == [0.8, 0.9, 0.95]
        assert [m.wanted for m in prediction_sets.of_held_out(said[:9], labels[:9])] == [0.8, 0.9]
        assert prediction_sets.of_held_out(said[:3], labels[:3]) == ()
        ninety = of_24[1]
        assert ninety.threshold == prediction_sets.threshold(said, labels, 0.9)
        members = prediction_sets.sets(said, ninety.threshold)
        assert (ninety.calibrated_on, ninety.single) == (24, np.mean(members.sum(1) == 1))

    def test_likely_coverage_is_that_of_a_simulation(self):
        """Of many sets of 24 answers, 5 % each give a lower and a higher coverage."""
        rng = np.random.default_rng(1)
        true = rng.random((20_000, 24))  # Uniform, so that a threshold of p covers 1 - p.
        covered = [1 - prediction_sets.threshold_of(row, 0.9) for row in true]
        said = np.stack([true[0], 1 - true[0]], 1)
        (_, ninety, _) = prediction_sets.of_held_out(said, np.zeros(24, np.int32))
        expected = np.quantile(covered, (0.05, 0.95))
        assert ninety.likely_coverage == pytest.approx(expected, abs=0.005)
        assert np.mean(covered) > 0.9
