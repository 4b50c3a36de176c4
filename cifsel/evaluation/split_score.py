"""All scores of a split: accuracy with its interval, by class and coarse label, calibration."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from cifsel.evaluation import scoring

TOP = 5  # The k of top-k accuracy.


@dataclasses.dataclass(frozen=True)
class ClassScore:
    """The scores of a class. What is undefined for want of examples is None.

    Attributes:
      examples: number of images of the class.
      accuracy: share of them that were recognised (the class's recall).
      interval: 95 % Wilson interval of the accuracy.
      precision: share of the images taken for this class that are of it.
      f1: harmonic mean of precision and recall.
    """

    examples: int
    accuracy: float | None
    interval: tuple[float, float] | None
    precision: float | None
    f1: float | None


@dataclasses.dataclass(frozen=True)
class CoarseScore:
    """The scores of a coarse label. What is undefined for want of examples is None.

    Attributes:
      examples: number of images of its classes.
      accuracy: share of them whose class was recognised.
      interval: 95 % Wilson interval of the accuracy.
      coarse_accuracy: share of them that were taken for some class of this coarse label.
    """

    examples: int
    accuracy: float | None
    interval: tuple[float, float] | None
    coarse_accuracy: float | None


@dataclasses.dataclass(frozen=True)
class SplitScore:
    """All scores of a split. Shares lie in 0..1.

    Attributes:
      examples: number of images.
      accuracy: share of images whose most probable class is the label.
      accuracy_interval: 95 % Wilson interval of the accuracy.
      balanced_accuracy: mean accuracy of the classes that have images.
      majority: accuracy of always answering the most frequent class.
      top5: share of images whose class is among the five most probable.
      loss: mean cross-entropy, in nats.
      macro_f1: mean F1 over the classes that occur as label or prediction.
      ece: expected calibration error, in `scoring.ECE_BINS` bins of equal width.
      coarse_accuracy: share of images whose predicted class has the right coarse label. None if
        the data set has no coarse labels.
      per_class: by name of the class.
      per_coarse: by name of the coarse label.
      top_confusions: up to ten (true class, predicted class, count), most frequent first.
    """

    examples: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    balanced_accuracy: float
    majority: float
    top5: float
    loss: float
    macro_f1: float
    ece: float
    coarse_accuracy: float | None
    per_class: dict[str, ClassScore]
    per_coarse: dict[str, CoarseScore]
    top_confusions: tuple[tuple[str, str, int], ...]

    @property
    def has_top5(self) -> bool:
        """Whether top-5 says anything. With up to five classes it is always 1."""
        return len(self.per_class) > TOP

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON form, with the fields in the order above."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "SplitScore":
        """Reads the JSON form."""
        nested = {
            "accuracy_interval": tuple(content["accuracy_interval"]),
            "per_class": {
                name: ClassScore(**_with_tuple(score))
                for name, score in content["per_class"].items()
            },
            "per_coarse": {
                name: CoarseScore(**_with_tuple(score))
                for name, score in content["per_coarse"].items()
            },
            "top_confusions": tuple(map(tuple, content["top_confusions"])),
        }
        return cls(**{**content, **nested})


def _with_tuple(score: Mapping[str, Any]) -> dict[str, Any]:
    """Makes the interval of a score a tuple again, which JSON turns into a list."""
    interval = score["interval"]
    return {**score, "interval": None if interval is None else tuple(interval)}


def score(
    logits: Float[np.ndarray, "n k"],
    labels: Int[np.ndarray, " _"],
    class_names: Sequence[str],
    coarse_names: Sequence[str],
    coarse_of: Int[np.ndarray, " _"],
) -> SplitScore:
    """Computes all scores of a split.

    Args:
      logits: of N images, at least one.
      labels: the N true classes, 0..K-1.
      class_names: K names.
      coarse_names: C names. None of them if the classes have no coarse labels.
      coarse_of: the coarse label of each of the K classes, 0..C-1. Empty without coarse labels.

    Raises:
      ValueError: shapes do not fit together, there are no examples, or logits are not finite.
    """
    _check(logits, labels, class_names, coarse_names, coarse_of)
    total, num_classes = logits.shape
    probabilities = scoring.softmax(logits)
    counts = scoring.confusion(labels, logits.argmax(axis=1), num_classes)
    right = int(np.trace(counts))
    per_class = _per_class(counts, class_names)
    f1 = [class_score.f1 for class_score in per_class.values() if class_score.f1 is not None]
    recalls = [s.accuracy for s in per_class.values() if s.accuracy is not None]
    coarse_accuracy, per_coarse = None, {}
    if coarse_names:
        grouped = np.zeros((len(coarse_names), len(coarse_names)), np.int64)
        np.add.at(grouped, (coarse_of[:, None], coarse_of[None, :]), counts)
        coarse_accuracy = float(np.trace(grouped) / total)
        per_coarse = _per_coarse(counts, grouped, coarse_names, coarse_of)
    return SplitScore(
        examples=total,
        accuracy=right / total,
        accuracy_interval=scoring.wilson(right, total),
        balanced_accuracy=float(np.mean(recalls)),
        majority=float(counts.sum(1).max() / total),
        top5=float((scoring.ranks(logits, labels) < TOP).mean()),
        loss=scoring.cross_entropy(logits, labels),
        macro_f1=float(np.mean(f1)),
        ece=scoring.expected_calibration_error(scoring.calibration(probabilities, labels)),
        coarse_accuracy=coarse_accuracy,
        per_class=per_class,
        per_coarse=per_coarse,
        top_confusions=tuple(scoring.top_confusions(counts, class_names)),
    )


def _check(
    logits: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    coarse_names: Sequence[str],
    coarse_of: np.ndarray,
) -> None:
    shape = (len(labels), len(class_names))
    grouped = coarse_of.shape == (shape[1:] if coarse_names else (0,))
    if logits.shape != shape or not grouped or shape[0] < 1:
        raise ValueError(
            f"logits {logits.shape}, labels {labels.shape}, {shape[1]} class names and coarse_of "
            f"{coarse_of.shape} do not fit together"
        )
    if coarse_names and (coarse_of.min() < 0 or coarse_of.max() >= len(coarse_names)):
        raise ValueError(f"coarse_of goes beyond the {len(coarse_names)} coarse names")
    if not np.isfinite(logits).all():
        raise ValueError("logits are not finite: training has diverged")


def _accuracy(right: int, total: int) -> tuple[float | None, tuple[float, float] | None]:
    """Returns an accuracy and its 95 % interval, None each without examples."""
    return (right / total, scoring.wilson(right, total)) if total else (None, None)


def _per_class(counts: np.ndarray, names: Sequence[str]) -> dict[str, ClassScore]:
    scores = {}
    for index, name in enumerate(names):
        right = int(counts[index, index])
        examples, predicted = int(counts[index].sum()), int(counts[:, index].sum())
        accuracy, interval = _accuracy(right, examples)
        scores[name] = ClassScore(
            examples,
            accuracy,
            interval,
            precision=right / predicted if predicted else None,
            # 2 right / (true + predicted) is the harmonic mean of precision and recall. It is
            # defined as soon as the class occurs on either side.
            f1=2 * right / (examples + predicted) if examples + predicted else None,
        )
    return scores


def _per_coarse(
    counts: np.ndarray, grouped: np.ndarray, names: Sequence[str], coarse_of: np.ndarray
) -> dict[str, CoarseScore]:
    scores = {}
    for index, name in enumerate(names):
        examples = int(grouped[index].sum())
        right = int(np.diag(counts)[coarse_of == index].sum())
        in_coarse = int(grouped[index, index]) / examples if examples else None
        scores[name] = CoarseScore(examples, *_accuracy(right, examples), in_coarse)
    return scores
