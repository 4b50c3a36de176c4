"""From out-of-fold probabilities to what is reported of them."""

from typing import Any

import numpy as np
from sklearn import metrics

from cifsel.evaluation import scoring
from cifsel.selfie.protocol.folds import Folds

# A prediction counts as sure where those as confident, out of fold, were right this often.
SURE = 0.9


def by_repeat(probabilities: np.ndarray, folds: Folds) -> np.ndarray:
    """Puts the folds of each repetition together.

    Args:
      probabilities: (F, N, K), of which those of the photos held out count.
      folds: F of them.

    Returns:
      (R, N, K): each photo as it was scored when it was held out.
    """
    per_repeat = len(folds.test) // folds.repeats
    own = np.where(folds.test[..., None], probabilities, 0.0)
    return own.reshape(folds.repeats, per_repeat, *probabilities.shape[1:]).sum(1)


def score(probabilities: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """Scores repeated out-of-fold predictions.

    Args:
      probabilities: (R, N, K), rows sum to 1.
      labels: (N,) int, 0..K-1.
      groups: (N,) int.

    Returns:
      examples N, repeats R; right and accuracy (mean over repetitions), accuracy_interval (Wilson's
      95 %, of as many trials as there are groups: photos of one group are hardly independent, nor
      are repetitions), balanced_accuracy, auc (of more than two classes, the mean of each against
      the others), log_loss (nats), confusion (K, K; mean counts, rows true) and probabilities
      (N, K), means over the repetitions. JSON-ready.
    """
    repeats, count, num_classes = probabilities.shape
    predicted = probabilities.argmax(2)
    confusion = np.mean([scoring.confusion(labels, one, num_classes) for one in predicted], axis=0)
    accuracy = float(np.trace(confusion) / count)
    trials = len(np.unique(groups))
    own = np.take_along_axis(probabilities, labels[None, :, None], axis=2)
    return {
        "examples": count,
        "repeats": repeats,
        "right": accuracy * count,
        "accuracy": accuracy,
        "accuracy_interval": list(wilson_share(accuracy, trials)),
        "balanced_accuracy": float(np.mean(np.diag(confusion) / confusion.sum(1))),
        "auc": float(np.mean([_auc(labels, one) for one in probabilities])),
        "log_loss": float(-np.log(np.maximum(own, 1e-12)).mean()),
        "confusion": confusion.tolist(),
        "probabilities": probabilities.mean(0).round(6).tolist(),
    }


def balanced_accuracy(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The share of right answers within each class, averaged over the classes.

    Args:
      predicted: (R, N) int.
      labels: (R, N) int, or (N,), with all classes in each row.

    Returns:
      (R,) float64.
    """
    labels = np.broadcast_to(labels, predicted.shape)
    right = predicted == labels
    classes = [labels == label for label in range(labels.max() + 1)]
    return np.mean([(right & one).sum(1) / one.sum(1) for one in classes], axis=0)


def _auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    if probabilities.shape[1] == 2:
        return float(metrics.roc_auc_score(labels, probabilities[:, 1]))
    # Rounding may take the sum of a row a hair away from the 1 that is insisted on.
    rows = probabilities / probabilities.sum(1, keepdims=True)
    return float(metrics.roc_auc_score(labels, rows, multi_class="ovr"))


def wilson_share(share: float, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval for a share that need not be a whole number of trials.

    Args:
      share: 0..1.
      trials: 1 or more.
    """
    # Rounding may take all of them a hair beyond their number.
    return scoring.wilson(min(share * trials, trials), trials)


def sure_from(probabilities: np.ndarray, labels: np.ndarray) -> float | None:
    """The confidence from which on predictions may be called sure.

    Args:
      probabilities: (R, N, K), out of fold.
      labels: (N,) int.

    Returns:
      The least confidence at which, and at every higher one, `SURE` of the predictions that
      confident were right, a fifth of all predictions or more; None if there is none.
    """
    confidence = probabilities.max(2).ravel()
    right = (probabilities.argmax(2) == labels).ravel()
    order = np.argsort(-confidence)
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    ranked = confidence[order]
    # Those of equal confidence are sure together or not at all.
    ends = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True))
    # The few most confident ones may have a mistake among them without meaning much.
    ends = ends[5 * (ends + 1) >= len(order)]
    holds = np.minimum.accumulate(share[ends]) >= SURE
    if not holds.any():
        return None
    return float(ranked[ends[np.flatnonzero(holds)[-1]]])
