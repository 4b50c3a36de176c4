"""Statistics of predictions: intervals, confusion, cross-entropy, calibration."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Integer

Z_95 = 1.959964  # two-sided 95 % quantile of the standard normal distribution
ECE_BINS = 15  # the number of bins of Guo et al. 2017, which most papers report


def wilson(successes: float, total: int, z: float = Z_95) -> tuple[float, float]:
    """Computes Wilson's score interval for a proportion (Wilson 1927).

    Args:
      successes: 0..total. A mean over repeated trials need not be a whole number.
      total: number of trials, at least 1.
      z: normal quantile of the confidence level. The default gives 95 %.

    Returns:
      Lower and upper bound, within 0..1.

    Raises:
      ValueError: total is below 1, or successes is not within 0..total.
    """
    if total < 1 or not 0 <= successes <= total:
        raise ValueError(f"need 0 <= successes <= total, total >= 1; got {successes} of {total}")
    rate, weight = successes / total, z * z / total
    centre = (rate + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(rate * (1 - rate) / total + weight / (4 * total))
    return (
        0.0 if successes == 0 else max(0.0, centre - half),
        1.0 if successes == total else min(1.0, centre + half),
    )


def confusion(
    labels: Integer[np.ndarray, "..."], predictions: Integer[np.ndarray, "..."], num_classes: int
) -> Int[np.ndarray, "k k"]:
    """Counts how often each class was taken for each.

    Args:
      labels: (N,), the true classes, 0..num_classes-1.
      predictions: (N,), the predicted classes, 0..num_classes-1.
      num_classes: K.

    Returns:
      The confusion matrix, rows true, columns predicted. Its sum is N.

    Raises:
      ValueError: the lengths differ, or a class lies outside 0..num_classes-1.
    """
    labels, predictions = np.asarray(labels, np.int64), np.asarray(predictions, np.int64)
    if labels.shape != predictions.shape or labels.ndim != 1:
        raise ValueError(f"{labels.shape} labels for {predictions.shape} predictions")
    both = np.concatenate([labels, predictions])
    if both.size and not (both.min() >= 0 and both.max() < num_classes):
        raise ValueError(f"classes {both.min()}..{both.max()} outside 0..{num_classes - 1}")
    flat = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes)


def softmax(logits: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Computes class probabilities in float64, without overflow for finite logits of any size."""
    return np.exp(_log_softmax(logits))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def cross_entropy(logits: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"]) -> float:
    """Computes the mean cross-entropy in nats, without overflow for finite logits of any size."""
    own = np.take_along_axis(_log_softmax(logits), labels[:, None], axis=1)
    return float(-own.mean())


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The table of a reliability diagram: predictions in B bins of confidence.

    Attributes:
      edges: of the bins, from 0 to 1.
      count: predictions in each bin.
      confidence: mean confidence in each bin, 0 in an empty one.
      accuracy: share of right predictions in each bin, 0 in an empty one.
    """

    edges: Float[np.ndarray, " edges"]
    count: Int[np.ndarray, " b"]
    confidence: Float[np.ndarray, " b"]
    accuracy: Float[np.ndarray, " b"]


def calibration(
    probabilities: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"], bins: int = ECE_BINS
) -> Calibration:
    """Computes how often predictions of each confidence are right, for a reliability diagram.

    Bin b holds the examples whose highest probability lies in (b / bins, (b + 1) / bins].

    Args:
      probabilities: rows sum to 1.
      labels: the true classes, 0..K-1.
      bins: number of bins of equal width.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0.0, 1.0, bins + 1)
    # Rounding may put a probability a hair above 1.
    bin_of = np.minimum(np.searchsorted(edges, confidence, side="left") - 1, bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    divisor = np.maximum(count, 1)
    return Calibration(
        edges,
        count,
        confidence=np.bincount(bin_of, weights=confidence, minlength=bins) / divisor,
        accuracy=np.bincount(bin_of, weights=right, minlength=bins) / divisor,
    )


def expected_calibration_error(table: Calibration) -> float:
    """Computes the mean of |accuracy - confidence| over the bins, weighted by their examples."""
    gap = np.abs(table.accuracy - table.confidence)
    return float((gap * table.count).sum() / table.count.sum())


def ranks(logits: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Counts the classes that come before the right one. 0 exactly where argmax is right."""
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    # Among equal logits the first wins, as in argmax. Else constant logits would have a perfect
    # top-5 accuracy.
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    return ((logits > own) | ((logits == own) & earlier)).sum(axis=1)


def top_confusions(
    counts: Int[np.ndarray, "k k"], class_names: Sequence[str], most: int = 10
) -> list[tuple[str, str, int]]:
    """Lists the most frequent mistakes, as (true, predicted, count), most frequent first.

    Args:
      counts: confusion matrix, rows true, columns predicted.
      class_names: K names.
      most: largest number of mistakes to list. Those that never happened are left out.
    """
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(class_names)) for place in order]
    return [
        (class_names[true], class_names[predicted], int(wrong[true, predicted]))
        for true, predicted in pairs
        if wrong[true, predicted] > 0
    ]
