"""How far images are from those of training."""

import numpy as np
import pytest

from cifsel.evaluation.distances import Typical
from cifsel.selfie.protocol import familiarity


def test_distance_is_in_standard_deviations():
    rng = np.random.default_rng(0)
    features = rng.normal(5, (1, 10, 100), (4000, 3)).astype(np.float32)
    typical = Typical.of(features)
    assert (typical.mean.dtype, typical.spread.dtype) == (np.float32, np.float32)
    far = np.array([[5, 5, 5], [7, 5, 5], [5, 25, 5], [7, 25, 205]], np.float32)
    distances = typical.distances(far)
    assert distances == pytest.approx([0, 2 / 3**0.5, 2 / 3**0.5, 2], abs=0.1)
    assert np.sqrt((typical.distances(features) ** 2).mean()) == pytest.approx(1)


def test_a_channel_that_hardly_varies_counts_little():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(size=(50, 9)), np.zeros((50, 1))], axis=1)
    nearly = np.zeros((1, 10))
    nearly[0, 9] = 1e-3
    assert Typical.of(features).distances(nearly)[0] < 1
    assert np.isfinite(Typical.of(np.zeros((5, 3))).distances(np.zeros((1, 3)))).all()


def test_the_limit_is_of_photos_that_are_held_out_with_their_group():
    rng = np.random.default_rng(0)
    pooled = rng.normal(size=(20, 30))
    pooled[[3, 4]] += 4
    alone = np.arange(20)
    together = np.where(alone == 4, 3, alone)
    limit = familiarity.largest_distance(pooled, together)
    rest = np.isin(alone, [3, 4])
    expected = Typical.of(pooled[~rest]).distances(pooled[rest]).max()
    assert limit == pytest.approx(expected)
    # If its twin stays, neither is far from the others.
    assert familiarity.largest_distance(pooled, alone) < 0.7 * limit


def test_of_new_photos_like_these_one_in_n_plus_1_is_further():
    rng = np.random.default_rng(1)
    further = []
    for _ in range(30):
        photos = rng.normal(size=(124, 40)) * rng.gamma(5, 1, (124, 1))
        limit = familiarity.largest_distance(photos[:24], np.arange(24))
        further.append((Typical.of(photos[:24]).distances(photos[24:]) > limit).mean())
    assert np.mean(further) == pytest.approx(1 / 25, abs=0.02)
