import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifsel.data import splits
from cifsel.errors import UserError


def make_split(labels):
    labels = np.asarray(labels, np.int32)
    n = len(labels)
    images = np.arange(n * 12, dtype=np.uint8).reshape(n, 2, 2, 3)
    return splits.Split(images, labels, np.arange(n, dtype=np.int32) * 3)


BALANCED = np.random.default_rng(0).permutation(np.repeat(np.arange(5), 40))


def test_split_refuses_arrays_of_different_lengths():
    arrays = SimpleNamespace(images=np.zeros((2, 4, 4, 3)), labels=np.zeros(3), ids=np.zeros(2))
    with pytest.raises(ValueError, match="2, 3, 2"):  # Asked by itself, as the types refuse it too.
        splits.Split.__post_init__(arrays)


def test_stratified_split_is_a_partition_with_equal_classes():
    train, val = splits.stratified_split(BALANCED, 7, seed=3)
    assert sorted([*train, *val]) == list(range(200))
    assert np.bincount(BALANCED[val]).tolist() == [7] * 5
    assert np.bincount(BALANCED[train]).tolist() == [33] * 5
    assert (np.diff(train) > 0).all()
    assert (np.diff(val) > 0).all()


def test_stratified_split_depends_on_the_seed_alone():
    first = splits.stratified_split(BALANCED, 7, seed=3)[1]
    np.random.seed(1)
    np.random.rand(10)
    np.testing.assert_array_equal(first, splits.stratified_split(BALANCED, 7, seed=3)[1])
    assert (first != splits.stratified_split(BALANCED, 7, seed=4)[1]).any()


def test_a_seed_stands_for_the_same_images_in_every_version():
    """Published numbers and other people's runs are of these; a new version must not draw anew."""
    labels = np.tile(np.arange(3), 4)
    assert splits.stratified_split(labels, 2, seed=0)[1].tolist() == [0, 4, 5, 7, 8, 9]
    split = make_split(labels)
    drawn = [(splits.take(split, examples=4, seed=seed).ids // 3).tolist() for seed in range(4)]
    assert drawn == [[4, 7, 8, 9], [0, 2, 6, 10], [0, 4, 8, 10], [0, 1, 5, 8]]


def test_classes_are_divided_differently_from_each_other():
    labels = np.repeat(np.arange(3), 40)
    _, val = splits.stratified_split(labels, 10, seed=0)
    within = [set(val[labels[val] == label] % 40) for label in range(3)]
    assert within[0] != within[1] != within[2]


def test_a_class_is_divided_alike_whatever_the_others_are():
    alone = np.flatnonzero(BALANCED == 2)
    _, of_all = splits.stratified_split(BALANCED, 7, seed=3)
    _, of_one = splits.stratified_split(BALANCED[alone], 7, seed=3)
    assert set(alone[of_one]) == set(of_all[BALANCED[of_all] == 2])


@pytest.mark.parametrize(("count", "message"), [(40, "40 images.*at most 39"), (-1, "0 or more")])
def test_stratified_split_refuses_impossible_counts(count, message):
    with pytest.raises(UserError, match=message):
        splits.stratified_split(BALANCED, count, seed=0)


def test_negative_seed_is_refused():
    with pytest.raises(UserError, match="seed is -1"):
        splits.stratified_split(BALANCED, 3, seed=-1)


def test_no_validation():
    train, val = splits.stratified_split(BALANCED, 0, seed=0)
    assert len(train) == 200
    assert len(val) == 0


def test_take_everything_is_the_split_itself():
    split = make_split(BALANCED)
    assert splits.take(split, seed=0) is split
    assert splits.take(split, examples=200, seed=0) is split


@given(
    counts=st.lists(st.integers(3, 20), min_size=1, max_size=6),
    data=st.data(),
    seed=st.integers(0, 2**40),
)
@settings(deadline=None, max_examples=60)
def test_take_examples_is_exact_and_balanced(counts, data, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    split = make_split(labels)
    examples = data.draw(st.integers(len(counts), len(labels)))
    part = splits.take(split, examples=examples, seed=seed)
    assert len(part) == examples
    kept = np.bincount(part.labels, minlength=len(counts))
    # As equal as the numbers allow: one with less than the largest share is used up, or one off.
    assert all(k >= kept.max() - 1 or k == n for k, n in zip(kept, counts, strict=True))
    # Rows stay together and in order.
    positions = part.ids // 3
    assert (np.diff(positions) > 0).all()
    np.testing.assert_array_equal(part.images, split.images[positions])
    np.testing.assert_array_equal(part.labels, labels[positions])


def test_take_fraction_keeps_the_share_of_each_class():
    part = splits.take(make_split(BALANCED), fraction=0.1, seed=0)
    assert np.bincount(part.labels).tolist() == [4] * 5


def test_take_leaves_one_of_each_class():
    part = splits.take(make_split(BALANCED), fraction=1e-6, seed=0)
    assert np.bincount(part.labels).tolist() == [1] * 5


def test_smaller_subsets_are_part_of_larger_ones():
    split = make_split(BALANCED)
    taken = [set(splits.take(split, examples=n, seed=5).ids) for n in (7, 8, 50, 51, 199)]
    assert all(small < large for small, large in itertools.pairwise(taken))


def test_take_depends_on_the_seed():
    split = make_split(BALANCED)
    ids = [splits.take(split, examples=20, seed=seed).ids.tolist() for seed in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]


def test_the_odd_ones_over_go_to_classes_at_random():
    split = make_split(BALANCED)
    extra = {
        int(np.bincount(splits.take(split, examples=6, seed=seed).labels).argmax())
        for seed in range(40)
    }
    assert len(extra) == 5


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"fraction": 0.0}, "train_fraction is 0.0"),
        ({"fraction": 1.5}, "train_fraction is 1.5"),
        ({"fraction": float("nan")}, "train_fraction is nan"),
        ({"examples": 4}, r"train_examples is 4: .*5 \(one per class\)"),
        ({"examples": 201}, "to 200"),
        ({"examples": -1}, "train_examples is -1"),
        ({"examples": 10, "fraction": 0.5}, "one of them"),
    ],
)
def test_take_refuses_what_is_out_of_range(asked, message):
    with pytest.raises(UserError, match=message) as caught:
        splits.take(make_split(BALANCED), **asked, seed=0)
    assert "\n" not in str(caught.value)


def test_fingerprint_notices_every_kind_of_change():
    split = make_split(BALANCED)
    image = split.images.copy()
    image[3, 0, 0, 0] ^= 1
    swapped = split.labels.copy()
    swapped[[0, 1]] = split.labels[0] + 1, split.labels[1] + 1
    variants = [
        (split,),
        (split, split),
        (split.at(np.arange(200)[::-1]),),
        (splits.Split(image, split.labels, split.ids),),
        (splits.Split(split.images, swapped, split.ids),),
        (splits.Split(split.images, split.labels, split.ids + 1),),
        (splits.Split(split.images.reshape(200, 4, 1, 3), split.labels, split.ids),),
    ]
    prints = {splits.fingerprint(*variant) for variant in variants}
    assert len(prints) == len(variants)
    assert splits.fingerprint(split) == splits.fingerprint(split.at(np.arange(200)))


def test_fingerprint_ignores_memory_layout():
    split = make_split(BALANCED)
    other = splits.Split(np.asfortranarray(split.images), split.labels, split.ids)
    assert splits.fingerprint(split) == splits.fingerprint(other)


def make_dataset():
    train, val, test = (make_split(BALANCED) for _ in range(3))
    return splits.Dataset(
        train, val, test, tuple("abcde"), ("all",), np.zeros(5, np.int32),
        splits.fingerprint(train, val, test),
    )  # fmt: skip


def test_subset_of_a_dataset_has_a_fingerprint_of_its_own():
    dataset = make_dataset()
    everything = {"train_fraction": 1.0, "train_examples": 0, "test_examples": 0, "seed": 0}
    assert splits.subset(dataset, **everything) is dataset
    less = splits.subset(dataset, **{**everything, "train_examples": 20, "test_examples": 10})
    assert (len(less.train), len(less.val), len(less.test)) == (20, 200, 10)
    assert less.fingerprint == splits.fingerprint(less.train, less.val, less.test)
    assert less.fingerprint != dataset.fingerprint


@pytest.mark.parametrize(
    ("asked", "train", "test"),
    [
        ({"train_fraction": 0.1}, 20, 200),
        ({"train_examples": 20}, 20, 200),
        ({"test_examples": 10}, 200, 10),
    ],
)
def test_each_part_of_a_dataset_is_cut_by_itself(asked, train, test):
    everything = {"train_fraction": 1.0, "train_examples": 0, "test_examples": 0, "seed": 0}
    less = splits.subset(make_dataset(), **{**everything, **asked})
    assert (len(less.train), len(less.val), len(less.test)) == (train, 200, test)
    assert less.fingerprint == splits.fingerprint(less.train, less.val, less.test)


def test_subset_names_the_field_in_question():
    with pytest.raises(UserError, match="test_examples is 3"):
        splits.subset(make_dataset(), train_fraction=1.0, train_examples=0, test_examples=3, seed=0)


def test_with_balanced_weights_all_classes_count_the_same():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    weights = splits.balanced_weights(labels, 4)
    totals = np.bincount(labels, weights=weights[labels], minlength=3)
    np.testing.assert_allclose(totals, 25, rtol=1e-6)
