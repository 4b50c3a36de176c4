"""24 photos with a signal of known strength, alone or in groups, for tests of the evidence."""

import numpy as np

from cifsel.selfie.protocol import folds as folds_lib
from cifsel.selfie.protocol import logistic, nested_cv, scores

L2 = (1e-2, 1.0)
WAYS, REPEATS = 4, 2
LABELS = np.tile([0, 1], 12).astype(np.int32)
ALONE = np.arange(24, dtype=np.int32)
# Some photos are in pairs or threes.
OF_BURSTS = np.array([0, 1, 0, 1, 2, 3, 2, 3, 2, 3, *range(4, 18)], np.int32)
# Twelve people, who are happy once and sad once.
OF_PEOPLE = np.repeat(np.arange(12, dtype=np.int32), 2)


def points(strength, seed=0, width=30):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(len(LABELS), width)) + strength * rng.normal(size=width) * (
        LABELS[:, None] - 0.5
    )
    return logistic.RotatedFeatures.of(features.astype(np.float32)).points[None]


def folds_of(groups):
    return folds_lib.repeated(LABELS, groups, folds=WAYS, repeats=REPEATS, seed=0)


def accuracy(features, folds):
    predictions = nested_cv.nested_cross_validation(features, LABELS, folds, L2, 2)
    return (scores.out_of_fold(predictions.probabilities, folds).argmax(2) == LABELS).mean()
