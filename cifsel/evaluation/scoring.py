"""From logits to numbers: accuracy with its interval, per class, per coarse label, calibration.

All of it is numpy in, plain Python out, and ready for JSON: a class without
examples has None where a number would be NaN, which JSON cannot hold.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Z_95 = 1.959964  # two-sided 95 % quantile of the standard normal distribution
ECE_BINS = 15  # the number of bins of Guo et al. 2017, which most papers report


def wilson(successes: float, total: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval for a proportion (Wilson 1927), which behaves near 0 and 1.

    Args:
      successes: 0..total; a mean over repeated trials need not be whole.
      total: Number of trials, >= 1.
      z: Normal quantile of the confidence level; the default gives 95 %.

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


def confusion(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts how often each class was taken for each.

    Args:
      labels: (N,) integer, the truth, 0..num_classes-1.
      predictions: (N,) integer, 0..num_classes-1.
      num_classes: K.

    Returns:
      (K, K) int64, rows true, columns predicted; sums to N.

    Raises:
      ValueError: The lengths differ, or a class lies outside 0..num_classes-1.
    """
    labels, predictions = np.asarray(labels, np.int64), np.asarray(predictions, np.int64)
    if labels.shape != predictions.shape or labels.ndim != 1:
        raise ValueError(f"{labels.shape} labels for {predictions.shape} predictions")
    both = np.concatenate([labels, predictions])
    if both.size and not (both.min() >= 0 and both.max() < num_classes):
        raise ValueError(f"classes {both.min()}..{both.max()} outside 0..{num_classes - 1}")
    flat = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Class probabilities (N, K) float64 of logits (N, K); safe for logits of any finite size."""
    return np.exp(_log_softmax(logits))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean over (N, K) logits and (N,) labels, in nats; large logits do not overflow."""
    own = np.take_along_axis(_log_softmax(logits), labels[:, None], axis=1)
    return float(-own.mean())


def calibration(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = ECE_BINS
) -> dict[str, np.ndarray]:
    """How often predictions of each confidence are right: the data of a reliability diagram.

    Bin b holds the examples whose highest probability lies in (b / bins, (b + 1) / bins].

    Args:
      probabilities: (N, K) float, rows sum to 1.
      labels: (N,) integer, 0..K-1.
      bins: Number of bins of equal width.

    Returns:
      edges (bins + 1,) float64; count (bins,) int64; confidence and accuracy (bins,) float64, the
      means within each bin, 0 where the bin is empty (see count).
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0.0, 1.0, bins + 1)
    # Rounding may put a probability a hair above 1.
    which = np.minimum(np.searchsorted(edges, confidence, side="left") - 1, bins - 1)
    count = np.bincount(which, minlength=bins)
    divisor = np.maximum(count, 1)
    return {
        "edges": edges,
        "count": count,
        "confidence": np.bincount(which, weights=confidence, minlength=bins) / divisor,
        "accuracy": np.bincount(which, weights=right, minlength=bins) / divisor,
    }


def expected_calibration_error(table: Mapping[str, np.ndarray]) -> float:
    """Mean of |accuracy - confidence| over the bins of `calibration`, weighted by examples."""
    gap = np.abs(table["accuracy"] - table["confidence"])
    return float((gap * table["count"]).sum() / table["count"].sum())


def score(
    logits: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    coarse_names: Sequence[str],
    coarse_of: np.ndarray,
) -> dict[str, Any]:
    """Everything that `metrics.json` says about one split.

    Args:
      logits: (N, K) float, N >= 1.
      labels: (N,) integer, 0..K-1.
      class_names: K names.
      coarse_names: C names.
      coarse_of: (K,) integer, the coarse label 0..C-1 of each class.

    Returns:
      examples; accuracy and accuracy_interval (95 % Wilson); top5 (the share of images whose class
      is among the five most probable); loss (mean cross-entropy, nats); macro_f1 (over the classes
      that occur as label or prediction); ece (`ECE_BINS` bins of equal width); coarse_accuracy (the
      predicted class lies in the right coarse label); per_class and per_coarse by name;
      top_confusions, up to ten [true, predicted, count], most frequent first. JSON-ready; what is
      undefined for want of examples is None.

    Raises:
      ValueError: Shapes do not fit together, there are no examples, or logits are not finite.
    """
    _check(logits, labels, class_names, coarse_names, coarse_of)
    total, num_classes = logits.shape
    probabilities = softmax(logits)
    counts = confusion(labels, logits.argmax(axis=1), num_classes)
    right = int(np.trace(counts))
    per_class = _per_class(counts, class_names)
    f1 = [entry["f1"] for entry in per_class.values() if entry["f1"] is not None]
    grouped = np.zeros((len(coarse_names), len(coarse_names)), np.int64)
    np.add.at(grouped, (coarse_of[:, None], coarse_of[None, :]), counts)
    return {
        "examples": total,
        "accuracy": right / total,
        "accuracy_interval": list(wilson(right, total)),
        "top5": float((_ranks(logits, labels) < 5).mean()),
        "loss": cross_entropy(logits, labels),
        "macro_f1": float(np.mean(f1)),
        "ece": expected_calibration_error(calibration(probabilities, labels)),
        "coarse_accuracy": float(np.trace(grouped) / total),
        "per_class": per_class,
        "per_coarse": _per_coarse(counts, grouped, coarse_names, coarse_of),
        "top_confusions": top_confusions(counts, class_names),
    }


def _ranks(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes come before the right one; 0 exactly where argmax is right."""
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    # Among equals the first wins, as in argmax: constant logits must not look like a perfect top 5.
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    return ((logits > own) | ((logits == own) & earlier)).sum(axis=1)


def top_confusions(
    counts: np.ndarray, class_names: Sequence[str], most: int = 10
) -> list[list[str | int]]:
    """The most frequent mistakes, as [true, predicted, count]; ties in the order of classes.

    Args:
      counts: (K, K) integer, rows true, columns predicted.
      class_names: K names.
      most: How many at the most; mistakes that never happened are left out.
    """
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(class_names)) for place in order]
    return [
        [class_names[true], class_names[predicted], int(wrong[true, predicted])]
        for true, predicted in pairs
        if wrong[true, predicted] > 0
    ]


def _check(
    logits: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    coarse_names: Sequence[str],
    coarse_of: np.ndarray,
) -> None:
    shape = (len(labels), len(class_names))
    if logits.shape != shape or coarse_of.shape != shape[1:] or shape[0] < 1:
        raise ValueError(
            f"logits {logits.shape}, labels {labels.shape}, {shape[1]} class names and coarse_of "
            f"{coarse_of.shape} do not fit together"
        )
    if coarse_of.min() < 0 or coarse_of.max() >= len(coarse_names):
        raise ValueError(f"coarse_of goes beyond the {len(coarse_names)} coarse names")
    if not np.isfinite(logits).all():
        raise ValueError("logits are not finite: training has diverged")


def _share(successes: int, total: int) -> dict[str, Any]:
    return {
        "examples": total,
        "accuracy": successes / total if total else None,
        "interval": list(wilson(successes, total)) if total else None,
    }


def _per_class(counts: np.ndarray, names: Sequence[str]) -> Mapping[str, dict[str, Any]]:
    result = {}
    for index, name in enumerate(names):
        right = int(counts[index, index])
        examples, predicted = int(counts[index].sum()), int(counts[:, index].sum())
        result[name] = _share(right, examples) | {
            "precision": right / predicted if predicted else None,
            # 2 right / (true + predicted) is the harmonic mean of precision and recall, and is
            # defined as soon as the class occurs on either side.
            "f1": 2 * right / (examples + predicted) if examples + predicted else None,
        }
    return result


def _per_coarse(
    counts: np.ndarray, grouped: np.ndarray, names: Sequence[str], coarse_of: np.ndarray
) -> Mapping[str, dict[str, Any]]:
    result = {}
    for index, name in enumerate(names):
        examples = int(grouped[index].sum())
        result[name] = _share(int(np.diag(counts)[coarse_of == index].sum()), examples) | {
            "coarse_accuracy": int(grouped[index, index]) / examples if examples else None,
        }
    return result
