"""Scores of out-of-fold predictions: accuracy with its interval, AUC, log loss, confidence."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int
from scipy import stats
from sklearn import metrics

from cifsel.evaluation import scoring
from cifsel.selfie.protocol.folds import Folds

# Predictions are called sure if this share of those at least as confident was right out of fold.
SURE = 0.9


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """Scores of repeated out-of-fold predictions.

    Attributes:
      examples: N.
      repeats: R, the number of repetitions of the cross-validation.
      right: the number of photos that were right, mean over the repetitions.
      accuracy: their share.
      accuracy_interval: Wilson's 95 % interval for as many trials as there are groups. Photos of
        one group are hardly independent, and neither are repetitions.
      balanced_accuracy: accuracy within each class, mean over the classes.
      auc: area under the ROC curve. Of more than two classes, the mean of each against the rest.
      log_loss: in nats.
      confusion: the confusion matrix, rows true, columns predicted. Mean counts.
      probabilities: means over the repetitions.
    """

    examples: int
    repeats: int
    right: float
    accuracy: float
    accuracy_interval: tuple[float, float]
    balanced_accuracy: float
    auc: float
    log_loss: float
    confusion: Float[np.ndarray, "k k"]
    probabilities: Float[np.ndarray, "n k"]


def out_of_fold(
    probabilities: Float[np.ndarray, "f n k"], folds: Folds
) -> Float[np.ndarray, "r n k"]:
    """Takes each photo's probabilities from the fold that held it out, for every repetition.

    Args:
      probabilities: the predictions of every fold for all photos.
      folds: F of them, with R repetitions.
    """
    per_repeat = len(folds.test) // folds.repeats
    held_out = np.where(folds.test[..., None], probabilities, 0.0)
    return held_out.reshape(folds.repeats, per_repeat, *probabilities.shape[1:]).sum(1)


def score(
    probabilities: Float[np.ndarray, "r n k"],
    labels: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
) -> Scores:
    """Scores out-of-fold probabilities.

    Args:
      probabilities: rows sum to 1.
      labels: the true classes, 0..K-1.
      groups: the groups that were held out together.
    """
    repeats, count, num_classes = probabilities.shape
    predicted = probabilities.argmax(2)
    confusion = np.mean([scoring.confusion(labels, row, num_classes) for row in predicted], axis=0)
    accuracy = float(np.trace(confusion) / count)
    of_true_class = np.take_along_axis(probabilities, labels[None, :, None], axis=2)
    return Scores(
        examples=count,
        repeats=repeats,
        right=accuracy * count,
        accuracy=accuracy,
        accuracy_interval=wilson_share(accuracy, len(np.unique(groups))),
        balanced_accuracy=float(np.mean(np.diag(confusion) / confusion.sum(1))),
        auc=float(np.mean([_auc(labels, repeat) for repeat in probabilities])),
        log_loss=float(-np.log(np.maximum(of_true_class, 1e-12)).mean()),
        confusion=confusion,
        probabilities=probabilities.mean(0).round(6).astype(np.float64),
    )


def balanced_accuracy(
    predicted: Int[np.ndarray, "r n"], labels: Int[np.ndarray, "*r n"]
) -> Float[np.ndarray, " r"]:
    """Computes accuracy within each class, averaged over the classes, for each repetition.

    Args:
      predicted: the predicted classes.
      labels: the true classes, the same for all repetitions or a row for each. Each row has all
        classes.
    """
    labels = np.broadcast_to(labels, predicted.shape)
    right = predicted == labels
    members = [labels == label for label in range(labels.max() + 1)]
    return np.mean([(right & member).sum(1) / member.sum(1) for member in members], axis=0)


def _auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    if probabilities.shape[1] == 2:
        return float(metrics.roc_auc_score(labels, probabilities[:, 1]))
    # scikit-learn insists on sums of 1, which rounding may miss by a hair.
    rows = probabilities / probabilities.sum(1, keepdims=True)
    return float(metrics.roc_auc_score(labels, rows, multi_class="ovr"))


def wilson_share(share: float, trials: int) -> tuple[float, float]:
    """Computes Wilson's 95 % interval for a share that need not be a whole number of trials.

    Args:
      share: 0..1.
      trials: 1 or more.
    """
    # The product may round to a hair above the number of trials.
    return scoring.wilson(min(share * trials, trials), trials)


@dataclasses.dataclass(frozen=True)
class Sure:
    """The confidence from which on predictions are called sure, and what was found out of fold.

    Attributes:
      least: the confidence.
      share: the share of predictions that reach it.
      right: the share of those that were right.
    """

    least: float
    share: float
    right: float


def sure(probabilities: Float[np.ndarray, "r n k"], labels: Int[np.ndarray, " n"]) -> Sure | None:
    """Finds the confidence from which on predictions may be called sure.

    Args:
      probabilities: out of fold.
      labels: the true classes.

    Returns:
      The least confidence c such that, for c and every higher threshold, `SURE` of the predictions
      at or above it were right. Only thresholds that a fifth of all predictions reach count. None
      if there is no such c.
    """
    confidence = probabilities.max(2).ravel()
    right = (probabilities.argmax(2) == labels).ravel()
    order = np.argsort(-confidence)
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    ranked = confidence[order]
    # Predictions of equal confidence are sure together or not at all.
    ends = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True))
    # A mistake among the few most confident ones may mean little.
    ends = ends[5 * (ends + 1) >= len(order)]
    holds = np.minimum.accumulate(share[ends]) >= SURE
    if not holds.any():
        return None
    end = int(ends[np.flatnonzero(holds)[-1]])
    return Sure(float(ranked[end]), (end + 1) / len(order), float(share[end]))


@dataclasses.dataclass(frozen=True)
class Leaning:
    """A class that too many photos of other classes are taken for.

    Attributes:
      label: the class.
      into: the number of photos of other classes that are taken for it.
      out_of: the number of its photos that are taken for others.
      p: the probability of a difference at least as large if both were equally likely.
    """

    label: int
    into: int
    out_of: int
    p: float


def leaning(confusion: Float[np.ndarray, "k k"]) -> Leaning | None:
    """Finds the class that answers lean to, if that is more than chance (p below 0.05).

    Args:
      confusion: rows true, columns predicted.
    """
    wrong = confusion - np.diag(np.diag(confusion))
    into, out_of = (np.round(wrong.sum(axis)).astype(int) for axis in (0, 1))
    label = int((into - out_of).argmax())
    total = int(into[label] + out_of[label])
    if not total:
        return None
    # With two classes there is one question, else one for each class.
    tests = 1 if len(confusion) == 2 else len(confusion)
    p = min(1.0, tests * float(stats.binomtest(int(into[label]), total).pvalue))
    return Leaning(label, int(into[label]), int(out_of[label]), p) if p < 0.05 else None
