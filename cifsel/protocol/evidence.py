"""Is it more than luck, and would more photos help?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cifsel.protocol import folds as folds_lib
from cifsel.protocol import nested, scores
from cifsel.protocol.folds import Folds

# Shares of the groups that are left to learn from, for the learning curve.
SHARES = (0.25, 0.5, 0.75, 1.0)


def permutation(
    points: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    folds: Folds,
    *,
    l2: Sequence[float],
    observed: float,
    permutations: int,
    seed: int,
) -> dict[str, Any]:
    """Runs the whole protocol, choices included, on photos whose labels were dealt out anew.

    Whole groups exchange their labels, and their places in the folds with them, with groups of the
    same size. Each dealing goes through one of the repetitions, in turn; their accuracies spread
    wider than a mean over all repetitions would, so p errs towards caution.

    Args:
      points: (S, N, N) float32, see `nested.run`.
      labels: (N,) int32.
      groups: (N,) int32.
      folds: from `folds.repeated`.
      l2: penalties.
      observed: accuracy with the true labels, mean over the repetitions.
      permutations: how many dealings.
      seed: of them.

    Returns:
      p, the share of dealings at least as accurate (the true one counted in); accuracies; observed;
      mean and its 95 % interval, which should hold 1 / K. JSON-ready.
    """
    rng = np.random.default_rng([seed, 2])
    per_repeat = len(folds.test) // folds.repeats
    test, inner, dealt = [], [], []
    for number in range(permutations):
        order = _deal(groups, rng)
        first = number % folds.repeats * per_repeat
        rows = slice(first, first + per_repeat)
        test.append(folds.test[rows][:, order])
        inner.append(folds.inner[rows][:, :, order])
        dealt.append(labels[order])
    many = Folds(np.concatenate(test), np.concatenate(inner), permutations)
    own = np.repeat(dealt, per_repeat, axis=0)
    outcome = nested.run(points, own, many, l2, int(labels.max()) + 1)
    predicted = scores.by_repeat(outcome.probabilities, many).argmax(2)
    accuracies = (predicted == np.stack(dealt)).mean(1)
    mean, error = accuracies.mean(), accuracies.std(ddof=1) / np.sqrt(permutations)
    # Equal accuracies differ by rounding, depending on the order of their terms.
    as_good = int((accuracies >= observed - 1e-9).sum())
    return {
        "p": (1 + as_good) / (1 + permutations),
        "accuracies": accuracies.tolist(),
        "observed": observed,
        "mean": float(mean),
        "interval": [float(mean - 1.96 * error), float(mean + 1.96 * error)],
    }


def _deal(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) int: the photo whose label and place each photo gets."""
    order = np.empty(len(groups), np.int64)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    for size in {len(one) for one in members}:
        alike = [one for one in members if len(one) == size]
        for one, other in zip(alike, rng.permutation(len(alike)), strict=True):
            order[one] = alike[other]
    return order


def learning_curve(
    points: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    folds: Folds,
    *,
    l2: Sequence[float],
    seed: int,
) -> list[dict[str, float]]:
    """Accuracy by the number of photos that were learned from.

    Args:
      points: (S, N, N) float32, see `nested.run`.
      labels: (N,) int32.
      groups: (N,) int32.
      folds: from `folds.repeated`.
      l2: penalties.
      seed: of which photos are left out.

    Returns:
      For each of `SHARES`, photos (the mean number), accuracy, low and high (Wilson's 95 %, see
      `scores.score`); sizes that come out alike are left out.
    """
    found: list[dict[str, float]] = []
    for share in SHARES:
        fewer = folds_lib.thinned(folds, labels, groups, share, seed)
        photos = float(fewer.train.sum(1).mean())
        if found and photos == found[-1]["photos"]:
            continue
        outcome = nested.run(points, labels, fewer, l2, int(labels.max()) + 1)
        predicted = scores.by_repeat(outcome.probabilities, folds).argmax(2)
        accuracy = float((predicted == labels).mean())
        low, high = scores.wilson_share(accuracy, len(np.unique(groups)))
        found.append({"photos": photos, "accuracy": accuracy, "low": low, "high": high})
    return found


def more_would_help(curve: Sequence[dict[str, float]]) -> bool:
    """Whether accuracy still rose, by two points or more, from the last size but one to the last.

    The sizes are compared on the same photos, so their intervals, which are about other photos,
    are no measure of this.
    """
    return len(curve) > 1 and curve[-1]["accuracy"] - curve[-2]["accuracy"] >= 0.02
