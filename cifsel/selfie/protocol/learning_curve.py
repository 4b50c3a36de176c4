"""The learning curve: whether more photos would help."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from cifsel.selfie.protocol import folds as folds_lib
from cifsel.selfie.protocol import scores
from cifsel.selfie.protocol.folds import Folds
from cifsel.selfie.protocol.nested_cv import nested_cross_validation

# The shares of the groups that are left to learn from.
SHARES = (0.25, 0.5, 0.75, 1.0)
# By so much accuracy rises from the last point but one to the last, if more photos would help.
_RISE = 0.02


@dataclasses.dataclass(frozen=True)
class CurvePoint:
    """The accuracy of classifiers that learned from so many photos.

    Attributes:
      photos: how many, mean over the folds.
      accuracy: out of fold.
      low: lower end of Wilson's 95 % interval for as many trials as there are groups.
      high: its upper end.
    """

    photos: float
    accuracy: float
    low: float
    high: float


def compute_learning_curve(
    points: Float[np.ndarray, "s n n"],
    labels: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    folds: Folds,
    *,
    l2: Sequence[float],
    average: bool = False,
    seed: int,
) -> tuple[CurvePoint, ...]:
    """Computes the out-of-fold accuracy by the number of photos that were learned from.

    Args:
      points: as `nested_cross_validation` takes them.
      labels: the classes, 0..K-1.
      groups: the groups to hold out together.
      folds: from `folds.repeated`.
      l2: penalties.
      average: as in `nested_cross_validation`.
      seed: of the choice of photos that are left out.

    Returns:
      A point for each of `SHARES`, without those that come to the same number of photos.
    """
    if average:
        # Inner folds are for confidence, which moves no answer.
        folds = folds_lib.without_inner(folds)
    curve: list[CurvePoint] = []
    for share in SHARES:
        fewer = folds_lib.thinned(folds, labels, groups, share, seed)
        photos = float(fewer.train.sum(1).mean())
        if curve and photos == curve[-1].photos:
            continue
        predictions = nested_cross_validation(
            points, labels, fewer, l2, int(labels.max()) + 1, average=average
        )
        predicted = scores.out_of_fold(predictions.probabilities, folds).argmax(2)
        accuracy = float((predicted == labels).mean())
        low, high = scores.wilson_share(accuracy, len(np.unique(groups)))
        curve.append(CurvePoint(photos, accuracy, low, high))
    return tuple(curve)


def still_rises(curve: Sequence[CurvePoint]) -> bool:
    """Tells whether accuracy rises by two points or more from the last point but one to the last.

    Both points are of the same photos. Their intervals are about other photos, so they are no
    measure of this.
    """
    return len(curve) > 1 and curve[-1].accuracy - curve[-2].accuracy >= _RISE
