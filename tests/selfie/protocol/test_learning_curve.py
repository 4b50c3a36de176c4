"""The learning curve, on photos of which it is known what there is to find."""

import numpy as np
import pytest
from known_photos import ALONE, L2, LABELS, OF_BURSTS, OF_PEOPLE, accuracy, folds_of, points

from cifsel.selfie.protocol import folds as folds_lib
from cifsel.selfie.protocol import learning_curve, scores
from cifsel.selfie.protocol.learning_curve import CurvePoint


@pytest.mark.slow
@pytest.mark.parametrize("groups", [ALONE, OF_BURSTS, OF_PEOPLE], ids=["alone", "bursts", "people"])
def test_learning_curve_ends_with_all_photos(groups):
    features, folds = points(0.6), folds_of(groups)
    curve = learning_curve.compute_learning_curve(features, LABELS, groups, folds, l2=L2, seed=0)
    sizes = [point.photos for point in curve]
    assert sizes == sorted(set(sizes))
    assert 3 <= len(sizes) <= len(learning_curve.SHARES)
    assert sizes[-1] == folds.train.sum(1).mean() == 18
    assert curve[-1].accuracy == pytest.approx(accuracy(features, folds), abs=0.05)
    assert curve[-1].accuracy > curve[0].accuracy
    for point in curve:
        expected = scores.wilson_share(point.accuracy, len(set(groups.tolist())))
        assert (point.low, point.high) == expected


@pytest.mark.slow
def test_sizes_that_come_out_alike_are_left_out():
    few = np.arange(24, dtype=np.int32) // 2 % 4 * 2 + LABELS  # four groups of each class
    folds = folds_lib.repeated(LABELS, few, folds=4, repeats=1, seed=0)
    curve = learning_curve.compute_learning_curve(points(0.6), LABELS, few, folds, l2=L2, seed=0)
    assert [point.photos for point in curve] == [12, 18]  # two or three of the three left


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
    curve = [CurvePoint(6.0 * n, share, 0.0, 1.0) for n, share in enumerate(accuracies)]
    assert learning_curve.still_rises(curve) is expected
