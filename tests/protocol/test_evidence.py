"""Luck and learning curves, on photos of which it is known what there is to find."""

import json
from collections import Counter

import numpy as np
import pytest

from cifsel.protocol import evidence, logistic, nested, scores
from cifsel.protocol import folds as folds_lib

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
        folds_of(groups),
        l2=L2,
        observed=observed,
        permutations=permutations,
        seed=0,
    )


@pytest.mark.parametrize("groups", [ALONE, OF_BURSTS, OF_PEOPLE], ids=["alone", "bursts", "people"])
def test_dealing_exchanges_whole_groups_of_the_same_size(groups):
    size = Counter(groups.tolist())
    dealt = [evidence._deal(groups, np.random.default_rng(seed)) for seed in range(50)]
    for order in dealt:
        assert sorted(order) == list(range(24))
        goes_to = {(int(a), int(b)) for a, b in zip(groups, groups[order], strict=True)}
        assert len(goes_to) == len(size)  # each group to one group
        assert all(size[a] == size[b] for a, b in goes_to)
    # Or labels would be dealt out as they were: of people who are in both classes as well.
    assert all(len({int(LABELS[order[photo]]) for order in dealt}) == 2 for photo in range(24))


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


def test_p_counts_those_as_good_even_by_rounding():
    features = points(0.0)
    accuracies = np.array(permutation(features, OF_BURSTS, 0.5)["accuracies"])
    for observed in (np.median(accuracies) + 1e-12, accuracies.max() + 1e-12):
        as_good = (accuracies > observed - 0.01).sum()
        assert permutation(features, OF_BURSTS, observed)["p"] == pytest.approx((1 + as_good) / 61)
    assert permutation(features, OF_BURSTS, accuracies.max() + 0.01)["p"] == pytest.approx(1 / 61)
    assert permutation(features, OF_BURSTS, 0.0)["p"] == 1


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
