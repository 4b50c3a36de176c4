"""Nobody is tested on a copy: what every way of holding out must keep to, for any groups."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifsel.errors import UserError
from cifsel.selfie.protocol import folds as folds_lib

WAYS = st.integers(3, 5)
SEEDS = st.integers(0, 99)
quick = settings(max_examples=40, deadline=None, derandomize=True)
# For tests that make many folds.
few = settings(max_examples=12, deadline=None, derandomize=True)


@st.composite
def albums(draw, spanning=None):
    """Labels and groups, of which each class has enough, in any order.

    Groups lie within a class, like bursts, or span classes, like people.
    """
    labels, groups = [], []
    if draw(st.booleans()) if spanning is None else spanning:
        people = draw(st.integers(4, 9))
        for person in range(people):
            for label in range(2):
                count = draw(st.integers(1, 3))
                labels += [label] * count
                groups += [person] * count
    else:
        for label in range(draw(st.integers(2, 3))):
            for size in draw(st.lists(st.integers(1, 4), min_size=4, max_size=7)):
                groups += [groups[-1] + 1 if groups else 0] * size
                labels += [label] * size
    order = np.array(draw(st.permutations(range(len(labels)))))
    return np.array(labels, np.int32)[order], np.array(groups, np.int32)[order]


def assert_whole(mask, among, groups):
    """No group is on both sides of the mask."""
    assert not set(groups[among & mask]) & set(groups[among & ~mask])


def assert_keeps_apart(folds, groups):
    """All folds keep groups together, and hold out each photo as they should."""
    everything = np.ones(len(groups), bool)
    np.testing.assert_array_equal(folds.train, ~folds.test)
    for test, ways in zip(folds.test, folds.inner, strict=True):
        assert_whole(test, everything, groups)
        for way in ways:
            assert_whole(way, ~test, groups)
        # So no way holds out a test photo, and each of the rest is held out by exactly one.
        np.testing.assert_array_equal(ways.sum(0), ~test)


@quick
@given(albums(), WAYS, SEEDS)
def test_repeated_holds_out_whole_groups_and_every_photo_once_each_time(album, ways, seed):
    labels, groups = album
    folds = folds_lib.repeated(labels, groups, folds=ways, repeats=2, seed=seed)
    assert folds.repeats == 2
    assert_keeps_apart(folds, groups)
    first, second = np.split(folds.test, 2)
    np.testing.assert_array_equal(first.sum(0), 1)
    np.testing.assert_array_equal(second.sum(0), 1)
    assert first.any(1).all()


@quick
@given(albums(), WAYS, SEEDS)
def test_leave_one_out_holds_out_each_group_by_itself(album, ways, seed):
    labels, groups = album
    folds = folds_lib.leave_one_out(labels, groups, folds=ways, seed=seed)
    assert folds.repeats == 1
    assert_keeps_apart(folds, groups)
    held_out = {tuple(np.flatnonzero(test)) for test in folds.test}
    assert held_out == {tuple(np.flatnonzero(groups == group)) for group in groups}
    assert len(folds.test) == len(held_out)


@quick
@given(albums(), WAYS, SEEDS)
def test_nothing_held_out_learns_from_all_and_chooses_within_them(album, ways, seed):
    labels, groups = album
    folds = folds_lib.nothing_held_out(labels, groups, folds=ways, seed=seed)
    assert folds.test.shape == (1, len(labels))
    assert folds.repeats == 1
    assert folds.train.all()
    assert_keeps_apart(folds, groups)


@pytest.mark.slow
@few
@given(albums(spanning=False), WAYS, SEEDS)
def test_every_class_is_left_to_learn_from(album, ways, seed):
    """Which is what `LEAST_GROUPS` is for."""
    labels, groups = album
    for folds in (
        folds_lib.repeated(labels, groups, folds=ways, repeats=1, seed=seed),
        folds_lib.leave_one_out(labels, groups, folds=ways, seed=seed),
    ):
        kept = folds.train[:, None] & ~folds.inner
        for label in np.unique(labels):
            assert (kept & (labels == label)).any(2).all()


SHARES = st.sampled_from([0.25, 0.5, 0.75, 1.0])


def fewest_groups(train, labels, groups):
    return min(len(set(groups[train & (labels == label)])) for label in np.unique(labels))


@pytest.mark.slow
@few
@given(albums(), WAYS, SHARES, SEEDS)
def test_thinned_leaves_out_whole_groups_of_the_rest_and_two_or_more_stay(album, ways, share, seed):
    labels, groups = album
    full = folds_lib.repeated(labels, groups, folds=ways, repeats=2, seed=seed)
    fewer = folds_lib.thinned(full, labels, groups, share, seed)
    assert fewer.repeats == 2
    assert_keeps_apart(fewer, groups)
    assert fewer.test[full.test].all()
    for before, after in zip(full.train, fewer.train, strict=True):
        least = min(2, fewest_groups(before, labels, groups))
        assert fewest_groups(after, labels, groups) >= least
    if share == 1:
        np.testing.assert_array_equal(fewer.test, full.test)
        np.testing.assert_array_equal(fewer.inner, full.inner)


@pytest.mark.slow
@few
@given(albums(), SEEDS)
def test_the_less_is_left_the_fewer_and_of_the_same_groups(album, seed):
    labels, groups = album
    full = folds_lib.repeated(labels, groups, folds=4, repeats=1, seed=seed)
    sizes = [folds_lib.thinned(full, labels, groups, share, seed) for share in (0.25, 0.5, 0.75, 1)]
    for fewer, more in itertools.pairwise(sizes):
        assert not (fewer.train & ~more.train).any()


def test_thinned_leaves_about_the_share_of_people_who_are_in_both_classes():
    labels = np.tile([0, 1], 12).astype(np.int32)
    people = np.repeat(np.arange(12), 2).astype(np.int32)
    full = folds_lib.repeated(labels, people, folds=4, repeats=1, seed=0)
    half = folds_lib.thinned(full, labels, people, 0.5, 0)
    kept = [len(set(people[train])) for train in half.train]
    assert 3 <= min(kept) <= max(kept) <= 6  # of nine


def test_thinned_leaves_the_share_of_each_class():
    labels = np.repeat([0, 1], [20, 40]).astype(np.int32)
    groups = np.arange(60, dtype=np.int32)
    full = folds_lib.repeated(labels, groups, folds=5, repeats=1, seed=0)
    half = folds_lib.thinned(full, labels, groups, 0.5, 0)
    assert [np.bincount(labels[train]).tolist() for train in half.train] == [[8, 16]] * 5


def test_thinned_to_next_to_nothing_leaves_two_groups_of_each_class_and_two_ways_to_choose():
    labels = np.repeat([0, 1], [20, 40]).astype(np.int32)
    groups = np.arange(60, dtype=np.int32)
    full = folds_lib.repeated(labels, groups, folds=5, repeats=1, seed=0)
    little = folds_lib.thinned(full, labels, groups, 0.01, 0)
    assert [np.bincount(labels[train]).tolist() for train in little.train] == [[2, 2]] * 5
    # The others of five are empty.
    assert little.inner.any(2).sum(1).tolist() == [2] * 5
    thinned = folds_lib.thinned(full, labels, groups, 0.6, 0)
    assert thinned.inner.any(2).sum(1).tolist() == [3] * 5
    assert little.inner.shape == thinned.inner.shape == full.inner.shape


def test_a_seed_stands_for_the_same_shuffles_in_every_version(monkeypatch):
    """As far as they are ours: scikit-learn may make other folds of them."""
    states, splitter = [], folds_lib.StratifiedGroupKFold

    def recorded(k, *, random_state, **settings):
        states.append(random_state)
        return splitter(k, random_state=random_state, **settings)

    monkeypatch.setattr(folds_lib, "StratifiedGroupKFold", recorded)
    labels = np.repeat([0, 1], 8).astype(np.int32)
    folds_lib.repeated(labels, np.arange(16), folds=2, repeats=2, seed=0)
    by_repeat, within = [1826701615, 1121323794], [1910792744, 1447969461, 2077960003, 1973187232]
    assert states == by_repeat + within


def test_every_repetition_is_shuffled_anew():
    labels = np.repeat([0, 1], 12).astype(np.int32)
    folds = folds_lib.repeated(labels, np.arange(24), folds=2, repeats=100, seed=0)
    assert len({min(map(bytes, two)) for two in np.split(folds.test, 100)}) == 100


def test_folds_hold_the_classes_in_proportion():
    labels = np.tile([0, 0, 1, 1, 1, 2], 10).astype(np.int32)
    groups = np.arange(60, dtype=np.int32)
    folds = folds_lib.repeated(labels, groups, folds=5, repeats=3, seed=0)
    assert [np.bincount(labels[test]).tolist() for test in folds.test] == [[4, 6, 2]] * 15
    counts = np.array(
        [[np.bincount(labels[way], minlength=3) for way in row] for row in folds.inner]
    )
    # 16, 24 and 8 of each class, by 5.
    assert np.abs(counts - np.array([16, 24, 8]) / 5).max() < 1


def test_fewer_ways_where_there_are_fewer_groups():
    labels = np.repeat([0, 1], [4, 9]).astype(np.int32)
    groups = np.arange(13, dtype=np.int32)
    folds = folds_lib.repeated(labels, groups, folds=5, repeats=2, seed=0)
    assert folds.test.shape == (8, 13)
    assert [test[:4].sum() for test in folds.test] == [1] * 8
    # Three of that class are left, so that two of the five ways stay empty.
    np.testing.assert_array_equal(folds.inner.any(2), [[True] * 3 + [False] * 2] * 8)


def test_the_seed_decides():
    labels = np.repeat([0, 1], 12).astype(np.int32)
    groups = np.arange(24, dtype=np.int32)

    def made(seed):
        full = folds_lib.repeated(labels, groups, folds=4, repeats=2, seed=seed)
        return full, folds_lib.thinned(full, labels, groups, 0.5, seed)

    for once, again, other in zip(made(0), made(0), made(1), strict=True):
        np.testing.assert_array_equal(once.test, again.test)
        np.testing.assert_array_equal(once.inner, again.inner)
        assert (once.test != other.test).any()
        assert (once.inner != other.inner).any()
    first, second = np.split(made(0)[0].test, 2)
    assert {*map(bytes, first)} != {*map(bytes, second)}


def test_check_names_the_class_that_has_too_few():
    labels = np.array([0] * 6 + [1] * 9, np.int32)
    groups = np.array([0, 1, 2, 3, 4, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8], np.int32)

    def advice(label):
        return f"do something about class {label}"

    with pytest.raises(UserError) as caught:
        folds_lib.check(labels, groups, ("happy", "sad"), advice)
    assert str(caught.value) == (
        "the 9 photos of 'sad' come from 3 occasions or people; expected 4 or more, as copies,"
        " bursts and people are held out together: do something about class 1"
    )
    with pytest.raises(UserError, match="from 1 occasion or person; expected 4"):
        folds_lib.check(labels, np.where(labels == 1, 9, groups), ("happy", "sad"), advice)
    folds_lib.check(labels, np.where(np.arange(15) == 14, 9, groups), ("happy", "sad"), advice)


def test_check_of_three_photos_asks_for_photos_alone():
    labels = np.array([0] * 4 + [1] * 3, np.int32)
    with pytest.raises(UserError) as caught:
        folds_lib.check(labels, np.arange(7), ("happy", "sad"), pytest.fail)
    assert str(caught.value) == (
        "3 photos of 'sad'; expected 4 or more, so that some can be held out: add photos"
    )


def test_check_does_not_overlook_a_class_of_which_there_is_nothing():
    with pytest.raises(ValueError, match="zip"):
        folds_lib.check(np.zeros(4, np.int32), np.arange(4), ("happy", "sad"), str)


def test_check_counts_people_who_are_in_both_classes_for_both():
    labels = np.tile([0, 1], 4).astype(np.int32)
    folds_lib.check(labels, np.repeat(np.arange(4), 2), ("happy", "sad"), str)
    with pytest.raises(UserError, match="3 photos of 'happy'"):
        folds_lib.check(labels[:-2], np.repeat(np.arange(3), 2), ("happy", "sad"), str)
