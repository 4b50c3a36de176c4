"""The permutation test, on photos of which it is known what there is to find."""

import numpy as np
import pytest
from known_photos import (
    ALONE,
    L2,
    LABELS,
    OF_BURSTS,
    OF_PEOPLE,
    WAYS,
    accuracy,
    folds_of,
    points,
)

from cifsel.selfie.protocol import permutation

PERMUTATIONS = 20


def run_test(features, groups, observed, permutations=PERMUTATIONS):
    return permutation.permutation_test(
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
    dealt = [
        permutation._permuted(LABELS, groups, np.random.default_rng(seed)) for seed in range(50)
    ]
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
    dealt = [
        permutation._permuted(labels, groups, np.random.default_rng(seed)) for seed in range(50)
    ]
    assert {tuple(own) for own in dealt} - {tuple(labels)}
    assert (np.std(dealt, axis=0) > 0).all()


@pytest.mark.slow
def test_a_signal_is_more_than_luck():
    features = points(1.0)
    observed = accuracy(features, folds_of(OF_BURSTS))
    assert observed > 0.9
    result = run_test(features, OF_BURSTS, observed)
    assert result.p == pytest.approx(1 / 21)
    assert result.observed == observed
    assert len(result.accuracies) == PERMUTATIONS


@pytest.mark.parametrize("groups", [ALONE, OF_BURSTS, OF_PEOPLE], ids=["alone", "bursts", "people"])
@pytest.mark.slow
def test_what_is_held_out_of_each_dealing_is_as_without(groups, monkeypatch):
    seen, run = [], permutation.nested_cross_validation

    def spy(features, labels, folds, *rest, **options):
        seen.append((labels, folds))
        return run(features, labels, folds, *rest, **options)

    monkeypatch.setattr(permutation, "nested_cross_validation", spy)
    run_test(points(0.0), groups, 0.5, permutations=5)
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
    result = run_test(features, groups, accuracy(features, folds_of(groups)))
    assert result.p > 0.1
    low, high = result.interval
    # An interval of twice the width hardly ever misses it.
    assert abs(result.mean - 0.5) < high - low
    assert result.mean == pytest.approx(np.mean(result.accuracies))
    error = np.std(result.accuracies, ddof=1) / PERMUTATIONS**0.5
    assert high - low == pytest.approx(2 * 1.96 * error)
    assert 0.04 < high - low < 0.17


@pytest.mark.slow
def test_p_counts_those_as_good_even_by_rounding():
    features = points(0.0)
    accuracies = run_test(features, OF_BURSTS, 0.5).accuracies
    for observed in (np.median(accuracies) + 1e-12, accuracies.max() + 1e-12):
        as_good = (accuracies > observed - 1e-6).sum()
        assert run_test(features, OF_BURSTS, observed).p == pytest.approx((1 + as_good) / 21)
    assert run_test(features, OF_BURSTS, accuracies.max() + 0.01).p == pytest.approx(1 / 21)
    assert run_test(features, OF_BURSTS, 0.0).p == 1
