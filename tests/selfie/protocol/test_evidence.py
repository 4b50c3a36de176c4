"""Luck and learning curves, on photos of which it is known what there is to find."""

import json

import numpy as np
import pytest

from cifsel.selfie.protocol import evidence, logistic, nested, scores
from cifsel.selfie.protocol import folds as folds_lib

pytestmark = pytest.mark.usefixtures("quick_compiling")
L2 = (1e-2, 1.0)
WAYS, REPEATS = 4, 2
ALONE = np.arange(24, dtype=np.int32)
# Some photos are in pairs or threes: (labels, groups) of 24 photos.
LABELS = np.tile([0, 1], 12).astype(np.int32)
OF_BURSTS = np.array([0, 1, 0, 1, 2, 3, 2, 3, 2, 3, *range(4, 18)], np.int32)
# Twelve people, who are happy once and sad once.
OF_PEOPLE = np.repeat(np.arange(12, dtype=np.int32), 2)


def points(strength, seed=0, width=30):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(len(LABELS), width)) + strength * rng.normal(size=width) * (
        LABELS[:, None] - 0.5
    )
    return logistic.Rotated.of(features.astype(np.float32)).points[None]


def folds_of(groups):
    return folds_lib.repeated(LABELS, groups, folds=WAYS, repeats=REPEATS, seed=0)


def accuracy(features, folds):
    found = nested.run(features, LABELS, folds, L2, 2)
    return (scores.by_repeat(found.probabilities, folds).argmax(2) == LABELS).mean()


def permutation(features, groups, observed, permutations=60):
    return evidence.permutation(
        features,
        LABELS,
        groups,
        folds=WAYS,
        l2=L2,
        observed=observed,
        permutations=permutations,
        seed=0,
    )


@pytest.mark.parametrize("groups", [ALONE, OF_BURSTS, OF_PEOPLE], ids=["alone", "bursts", "people"])
def test_dealing_keeps_groups_of_one_class_and_people_of_both(groups):
    dealt = [evidence._deal(LABELS, groups, np.random.default_rng(seed)) for seed in range(50)]
    classes = {group: len(set(LABELS[groups == group])) for group in np.unique(groups)}
    one_class = [group for group, count in classes.items() if count == 1]
    for labels in dealt:
        for group, count in classes.items():
            assert len(set(labels[groups == group])) == count
        # As many groups of each class as before, whatever their sizes.
        first = [int(np.flatnonzero(groups == group)[0]) for group in one_class]
        assert labels[first].sum() == LABELS[first].sum()
    # Or the labels would be dealt out as they were.
    assert (np.std(dealt, axis=0) > 0).all()


def test_size_of_a_burst_does_not_give_its_class_away():
    """Happy photos in bursts of three, sad ones alone: labels move all the same."""
    labels = np.repeat([0, 1], [12, 6]).astype(np.int32)
    groups = np.array([*np.repeat(range(4), 3), *range(4, 10)], np.int32)
    dealt = [evidence._deal(labels, groups, np.random.default_rng(seed)) for seed in range(50)]
    assert {tuple(one) for one in dealt} - {tuple(labels)}
    assert (np.std(dealt, axis=0) > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("groups", [OF_BURSTS, OF_PEOPLE], ids=["bursts", "people"])
def test_a_signal_is_more_than_luck(groups):
    features = points(1.0)
    observed = accuracy(features, folds_of(groups))
    assert observed > 0.9
    found = permutation(features, groups, observed)
    assert found["p"] == pytest.approx(1 / 61)
    assert found["observed"] == observed
    assert len(found["accuracies"]) == 60
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("groups", [ALONE, OF_BURSTS, OF_PEOPLE], ids=["alone", "bursts", "people"])
def test_what_is_held_out_of_each_dealing_is_as_without(groups, monkeypatch):
    seen, run = [], nested.run

    def spy(features, labels, folds, *rest):
        seen.append((labels, folds))
        return run(features, labels, folds, *rest)

    monkeypatch.setattr(nested, "run", spy)
    permutation(points(0.0), groups, 0.5, permutations=5)
    ((labels, dealt),) = seen
    assert dealt.repeats == 5
    np.testing.assert_array_equal(dealt.test.reshape(5, WAYS, 24).sum(1), 1)
    np.testing.assert_array_equal(dealt.inner.sum(1), ~dealt.test)
    for number, (test, inner) in enumerate(zip(dealt.test, dealt.inner, strict=True)):
        assert not set(groups[test]) & set(groups[~test])
        for way in inner:
            assert not set(groups[way]) & set(groups[~test & ~way])
        same = labels[number // WAYS * WAYS]
        np.testing.assert_array_equal(labels[number], same)  # one dealing for all its folds
        if groups is ALONE:
            assert np.bincount(labels[number][test]).tolist() == [3, 3]


@pytest.mark.slow
@pytest.mark.parametrize("groups", [OF_BURSTS, OF_PEOPLE], ids=["bursts", "people"])
def test_noise_is_luck(groups):
    features = points(0.0)
    found = permutation(features, groups, accuracy(features, folds_of(groups)))
    assert found["p"] > 0.1
    low, high = found["interval"]
    # One in twenty such intervals misses it; one of twice the width hardly ever does.
    assert abs(found["mean"] - 0.5) < high - low
    assert found["mean"] == pytest.approx(np.mean(found["accuracies"]))
    assert high - low == pytest.approx(2 * 1.96 * np.std(found["accuracies"], ddof=1) / 60**0.5)
    assert 0.02 < high - low < 0.1


@pytest.mark.slow
def test_p_counts_those_as_good_even_by_rounding():
    features = points(0.0)
    accuracies = np.array(permutation(features, OF_BURSTS, 0.5)["accuracies"])
    for observed in (np.median(accuracies) + 1e-12, accuracies.max() + 1e-12):
        as_good = (accuracies > observed - 1e-6).sum()
        assert permutation(features, OF_BURSTS, observed)["p"] == pytest.approx((1 + as_good) / 61)
    assert permutation(features, OF_BURSTS, accuracies.max() + 0.01)["p"] == pytest.approx(1 / 61)
    assert permutation(features, OF_BURSTS, 0.0)["p"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("groups", [ALONE, OF_BURSTS, OF_PEOPLE], ids=["alone", "bursts", "people"])
def test_learning_curve_ends_with_all_photos(groups):
    features, folds = points(0.6), folds_of(groups)
    found = evidence.learning_curve(features, LABELS, groups, folds, l2=L2, seed=0)
    sizes = [one["photos"] for one in found]
    assert sizes == sorted(set(sizes))
    assert 3 <= len(sizes) <= len(evidence.SHARES)
    assert sizes[-1] == folds.train.sum(1).mean() == 18
    assert found[-1]["accuracy"] == pytest.approx(accuracy(features, folds), abs=0.05)
    assert found[-1]["accuracy"] > found[0]["accuracy"]
    for one in found:
        expected = scores.wilson_share(one["accuracy"], len(set(groups.tolist())))
        assert (one["low"], one["high"]) == expected
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.slow
def test_sizes_that_come_out_alike_are_left_out():
    few = np.arange(24, dtype=np.int32) // 2 % 4 * 2 + LABELS  # four groups of each class
    folds = folds_lib.repeated(LABELS, few, folds=4, repeats=1, seed=0)
    found = evidence.learning_curve(points(0.6), LABELS, few, folds, l2=L2, seed=0)
    assert [one["photos"] for one in found] == [12, 18]  # two or three of the three left


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([0.5, 0.6, 0.7], True),
        ([0.7, 0.6, 0.65], True),
        ([0.5, 0.7, 0.71], False),
        ([0.5, 0.7, 0.6], False),
        ([0.5, 0.5625, 0.5825], True),
        ([0.9], False),
        ([], False),
    ],
)
def test_more_photos_help_while_the_curve_rises(accuracies, expected):
    curve = [{"photos": 6.0 * n, "accuracy": one} for n, one in enumerate(accuracies)]
    assert evidence.more_would_help(curve) is expected
