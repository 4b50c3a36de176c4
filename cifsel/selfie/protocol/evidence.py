"""Is it more than luck, and would more photos help?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cifsel.selfie.protocol import folds as folds_lib
from cifsel.selfie.protocol import nested, scores
from cifsel.selfie.protocol.folds import Folds

# Shares of the groups that are left to learn from, for the learning curve.
SHARES = (0.25, 0.5, 0.75, 1.0)


def permutation(
    points: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    folds: int,
    l2: Sequence[float],
    observed: float,
    permutations: int,
    seed: int,
) -> dict[str, Any]:
    """Runs the whole protocol, choices included, on photos whose labels were dealt out anew.

    Each dealing goes through one repetition; their accuracies spread wider than a mean over
    several would, so p errs towards caution.

    Args:
      points: (S, N, N) float32, see `nested.run`.
      labels: (N,) int32.
      groups: (N,) int32.
      folds: of the cross-validation.
      l2: penalties.
      observed: balanced accuracy with the true labels, mean over the repetitions.
      permutations: how many dealings, 2 or more.
      seed: of them.

    Returns:
      p, the share of dealings at least as accurate (the true one counted in); accuracies, balanced;
      observed; mean and its 95 % interval, which should hold 1 / K. JSON-ready.
    """
    rng = np.random.default_rng([seed, 2])
    dealt = np.stack([_deal(labels, groups, rng) for _ in range(permutations)])
    each = [
        folds_lib.repeated(own, groups, folds=folds, repeats=1, seed=seed + number)
        for number, own in enumerate(dealt)
    ]
    many = Folds(
        np.concatenate([one.test for one in each]),
        np.concatenate([one.inner for one in each]),
        permutations,
    )
    per_repeat = len(many.test) // permutations
    own = np.repeat(dealt, per_repeat, axis=0)
    outcome = nested.run(points, own, many, l2, int(labels.max()) + 1)
    predicted = scores.by_repeat(outcome.probabilities, many).argmax(2)
    accuracies = scores.balanced_accuracy(predicted, dealt)
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


def _deal(labels: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) int32: labels that would be as likely, if photos said nothing of them.

    Groups of one class exchange their classes, whatever their sizes; within a group of several
    classes (a person who is in both, say) photos exchange theirs.
    """
    dealt = labels.copy()
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    of_one_class = [one for one in members if len(np.unique(labels[one])) == 1]
    classes = rng.permutation([labels[one[0]] for one in of_one_class])
    for one, label in zip(of_one_class, classes, strict=True):
        dealt[one] = label
    for one in members:
        if len(np.unique(labels[one])) > 1:
            dealt[one] = rng.permutation(labels[one])
    return dealt


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
