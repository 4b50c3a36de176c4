"""A permutation test: whether the accuracy is more than luck."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from cifsel.selfie.protocol import folds as folds_lib
from cifsel.selfie.protocol import scores
from cifsel.selfie.protocol.folds import Folds
from cifsel.selfie.protocol.nested_cv import nested_cross_validation


@dataclasses.dataclass(frozen=True, eq=False)
class PermutationTest:
    """The result of a permutation test. Accuracies are balanced.

    Attributes:
      p: the share of permutations at least as accurate as the true labels, which count as one.
      accuracies: with the labels of each permutation.
      observed: with the true labels.
      mean: of `accuracies`.
      interval: 95 % interval of that mean. It should contain 1 / K.
    """

    p: float
    accuracies: Float[np.ndarray, " permutations"]
    observed: float
    mean: float
    interval: tuple[float, float]


def permutation_test(
    points: Float[np.ndarray, "s n n"],
    labels: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    *,
    folds: int,
    l2: Sequence[float],
    average: bool = False,
    observed: float,
    permutations: int,
    seed: int,
) -> PermutationTest:
    """Runs nested cross-validation, choices included, on photos with permuted labels.

    Each permutation takes one repetition. Their accuracies spread more widely than means over
    several repetitions would, so p errs on the side of caution.

    Args:
      points: as `nested_cross_validation` takes them.
      labels: the true classes, 0..K-1.
      groups: the groups to hold out together.
      folds: k of the cross-validation.
      l2: penalties.
      average: as in `nested_cross_validation`.
      observed: balanced accuracy with the true labels, mean over the repetitions.
      permutations: how many, 2 or more.
      seed: of the permutations.
    """
    rng = np.random.default_rng([seed, 2])
    permuted = np.stack([_permuted(labels, groups, rng) for _ in range(permutations)])
    by_permutation = [
        # Averages need no inner folds here. Those are for confidence, which moves no answer.
        folds_lib.repeated(
            own, groups, folds=folds, repeats=1, seed=seed + number, with_inner=not average
        )
        for number, own in enumerate(permuted)
    ]
    all_folds = Folds(
        np.concatenate([own.test for own in by_permutation]),
        np.concatenate([own.inner for own in by_permutation]),
        permutations,
    )
    labels_of_fold = np.repeat(permuted, len(all_folds.test) // permutations, axis=0)
    predictions = nested_cross_validation(
        points, labels_of_fold, all_folds, l2, int(labels.max()) + 1, average=average
    )
    predicted = scores.out_of_fold(predictions.probabilities, all_folds).argmax(2)
    accuracies = scores.balanced_accuracy(predicted, permuted)
    mean, error = accuracies.mean(), accuracies.std(ddof=1) / np.sqrt(permutations)
    # Equal accuracies may differ by rounding, as their terms are added in another order.
    as_good = int((accuracies >= observed - 1e-9).sum())
    return PermutationTest(
        p=(1 + as_good) / (1 + permutations),
        accuracies=accuracies,
        observed=observed,
        mean=float(mean),
        interval=(float(mean - 1.96 * error), float(mean + 1.96 * error)),
    )


def _permuted(labels: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Permutes labels such that all results are equally likely if photos say nothing of them.

    Groups of one class exchange their classes, whatever their sizes. Within a group of several
    classes, such as a person who is in both, photos exchange theirs.

    Args:
      labels: (N,) int32.
      groups: (N,) int32.
      rng: the source of randomness.

    Returns:
      (N,) int32.
    """
    permuted = labels.copy()
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    of_one_class = [own for own in members if len(np.unique(labels[own])) == 1]
    classes = rng.permutation([labels[own[0]] for own in of_one_class])
    for own, label in zip(of_one_class, classes, strict=True):
        permuted[own] = label
    for own in members:
        if len(np.unique(labels[own])) > 1:
            permuted[own] = rng.permutation(labels[own])
    return permuted
