"""Parts have their shares of each class, and no group is in two of them."""

import numpy as np
import pytest

from cifsel.data.folders import grouped_split
from cifsel.errors import UserError

SHARES = (0.65, 0.15, 0.2)


def counts(labels, parts, classes):
    return np.array(
        [[np.sum((labels == k) & (parts == part)) for k in range(classes)] for part in range(3)]
    )


def test_each_part_has_its_share_of_each_class():
    labels = np.repeat([0, 1, 2], [100, 40, 20])
    parts = grouped_split.divide(labels, np.arange(160), SHARES, ("a", "b", "c"), seed=0)
    expected = np.outer(SHARES, [100, 40, 20])
    assert np.abs(counts(labels, parts, 3) - expected).max() <= 1


def test_groups_stay_together_and_shares_hold_about():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 90, 400)
    groups = np.unique(groups, return_inverse=True)[1]
    labels = rng.integers(0, 2, groups.max() + 1)[groups]
    parts = grouped_split.divide(labels, groups, SHARES, ("a", "b"), seed=0)
    for group in range(groups.max() + 1):
        assert len(set(parts[groups == group])) == 1
    expected = np.outer(SHARES, np.bincount(labels))
    assert np.abs(counts(labels, parts, 2) - expected).max() < 8


@pytest.mark.parametrize("images", [3, 4, 5])
def test_few_images_are_in_all_parts(images):
    labels = np.repeat([0, 1], images)
    parts = grouped_split.divide(labels, np.arange(2 * images), SHARES, ("a", "b"), seed=1)
    assert counts(labels, parts, 2).min() >= 1


def test_the_seed_decides_and_nothing_else():
    labels, groups = np.repeat([0, 1], 30), np.arange(60)
    first, again, other = (
        grouped_split.divide(labels, groups, SHARES, ("a", "b"), seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_too_few_images_are_refused_with_the_number_needed():
    labels = np.array([0, 0, 0, 1, 1])
    with pytest.raises(UserError, match=r"class 'b' has 2 images.*a split into 3 parts needs 3"):
        grouped_split.divide(labels, np.arange(5), SHARES, ("a", "b"), seed=0)
    with pytest.raises(UserError, match=r"class 'a' has 3 images, of which 1 may be separated"):
        grouped_split.divide(labels, np.array([0, 0, 0, 1, 2]), SHARES, ("a", "b"), seed=0)
