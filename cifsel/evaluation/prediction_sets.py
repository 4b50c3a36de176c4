"""Sets of classes that hold the true one with a stated probability: split conformal prediction.

Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005. The guarantee needs no
model to be right. It needs images that are like the validation images, which the model has not
learned from.

A set has the classes whose probability reaches a threshold. Among all sets of the same coverage,
these have the fewest classes (Sadinle, Lei and Wasserman, "Least Ambiguous Set-Valued Classifiers
with Bounded Error Levels", 2019). The most probable class is always in the set.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from cifsel.evaluation import scoring
from cifsel.workdir import records

# The coverages that reports show.
COVERAGES = (0.8, 0.9, 0.95)


@dataclasses.dataclass(frozen=True)
class CoarseSets:
    """The sets of the images of a coarse label.

    Attributes:
      examples: number of images.
      coverage: share of them whose set holds the true class. None without images.
      interval: 95 % Wilson interval of the coverage. None without images.
      mean_size: mean number of classes in a set. None without images.
    """

    examples: int
    coverage: float | None
    interval: tuple[float, float] | None
    mean_size: float | None


@dataclasses.dataclass(frozen=True)
class SetScore:
    """How sets of classes do on test images.

    Attributes:
      wanted: the coverage that was asked for, in 0..1.
      threshold: the least probability of a class in a set. 0 if there are too few validation images
        for this coverage. Sets have all classes then.
      calibrated_on: number of validation images.
      coverage: share of the test images whose set holds the true class.
      interval: 95 % Wilson interval of the coverage.
      mean_size: mean number of classes in a set.
      mean_size_interval: its 95 % interval, by the normal approximation.
      single: share of the sets with one class only.
      per_coarse: by name of the coarse label.
    """

    wanted: float
    threshold: float
    calibrated_on: int
    coverage: float
    interval: tuple[float, float]
    mean_size: float
    mean_size_interval: tuple[float, float]
    single: float
    per_coarse: dict[str, CoarseSets]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "SetScore":
        """Reads what `dataclasses.asdict` has written as JSON.

        Raises:
          KeyError, TypeError, ValueError: it is something else.
        """
        return records.read(cls, content)


@dataclasses.dataclass(frozen=True)
class HeldOutSets:
    """Sets that were calibrated on held-out answers, without other images to test them on.

    Attributes:
      wanted: the coverage that was asked for, in 0..1.
      threshold: the least probability of a class in a set.
      calibrated_on: number of held-out answers.
      likely_coverage: other answers would have given other thresholds. In 90 % of the cases, the
        sets hold the true class with a probability in this range.
      single: share of the held-out answers whose set has one class only.
    """

    wanted: float
    threshold: float
    calibrated_on: int
    likely_coverage: tuple[float, float]
    single: float


def of_held_out(
    probabilities: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"]
) -> tuple[HeldOutSets, ...]:
    """Calibrates sets for each of `COVERAGES` that so many held-out answers allow.

    Args:
      probabilities: of models that had not seen the image.
      labels: the true classes.
    """
    total, calibrated = len(labels), []
    for wanted in COVERAGES:
        if total < least_examples(wanted):
            continue
        least = threshold(probabilities, labels, wanted)
        below = _below(total, wanted)
        # The coverage of a threshold that is an order statistic (Vovk 2012, "Conditional Validity
        # of Inductive Conformal Predictors").
        from scipy import stats  # Takes half a second to import, and few answers need it.

        low, high = stats.beta.ppf((0.05, 0.95), total + 1 - below, below)
        sizes = sets(probabilities, least).sum(1)
        single = float((sizes == 1).mean())
        calibrated.append(HeldOutSets(wanted, least, total, (float(low), float(high)), single))
    return tuple(calibrated)


def threshold(
    probabilities: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"], coverage: float
) -> float:
    """Finds the least probability of a class in a set.

    Args:
      probabilities: of images that the model has not learned from.
      labels: their true classes.
      coverage: least probability that the set of a new image holds its class, in 0..1.

    Returns:
      The threshold. 0 if there are fewer images than coverage / (1 - coverage), rounded up.

    Raises:
      ValueError: the coverage is not between 0 and 1.
    """
    return threshold_of(probabilities[np.arange(len(labels)), labels], coverage)


def threshold_of(true_probabilities: Float[np.ndarray, " n"], coverage: float) -> float:
    """As `threshold`, of the probabilities of the true classes."""
    if not 0 < coverage < 1:
        raise ValueError(f"coverage is {coverage}: give a number between 0 and 1")
    below = _below(len(true_probabilities), coverage)
    return float(np.sort(true_probabilities)[below - 1]) if below else 0.0


def _below(total: int, coverage: float) -> int:
    """The place of the threshold among the probabilities of the true classes, counted from 1.

    0 if there are too few of them. The new image counts as number `total` + 1.
    """
    # Rounded first, as 10 * 0.9 may be a little more than 9.
    return total + 1 - math.ceil(round((total + 1) * coverage, 9))


def least_examples(coverage: float) -> int:
    """The least number of validation images for which sets need not have all classes."""
    return math.ceil(round(coverage / (1 - coverage), 9))


def sets(probabilities: Float[np.ndarray, "n k"], least: float) -> Bool[np.ndarray, "n k"]:
    """Which classes are in the set of each image.

    Args:
      probabilities: of the images.
      least: a result of `threshold`.
    """
    most_probable = probabilities >= probabilities.max(1, keepdims=True)
    return most_probable | (probabilities >= least)


def score(
    val_logits: Float[np.ndarray, "v k"],
    val_labels: Int[np.ndarray, " v"],
    test_logits: Float[np.ndarray, "n k"],
    test_labels: Int[np.ndarray, " n"],
    *,
    coarse_names: Sequence[str],
    coarse_of: Int[np.ndarray, " _"],
    wanted: float,
) -> SetScore:
    """Calibrates sets on validation images and scores them on test images.

    Args:
      val_logits: of the validation images.
      val_labels: their true classes.
      test_logits: of the test images.
      test_labels: their true classes.
      coarse_names: C names. None of them if the classes have no coarse labels.
      coarse_of: the coarse label of each class, 0..C-1. Empty without coarse labels.
      wanted: the coverage to ask for, in 0..1.
    """
    least = threshold(scoring.softmax(val_logits), val_labels, wanted)
    members = sets(scoring.softmax(test_logits), least)
    covered = members[np.arange(len(test_labels)), test_labels]
    sizes = members.sum(1)
    mean = float(sizes.mean())
    error = scoring.Z_95 * float(sizes.std()) / math.sqrt(len(sizes))
    groups = coarse_of[test_labels] if coarse_names else test_labels
    return SetScore(
        wanted=wanted,
        threshold=least,
        calibrated_on=len(val_labels),
        coverage=float(covered.mean()),
        interval=scoring.wilson(int(covered.sum()), len(covered)),
        mean_size=mean,
        mean_size_interval=(max(1.0, mean - error), min(float(members.shape[1]), mean + error)),
        single=float((sizes == 1).mean()),
        per_coarse={
            name: _coarse(covered[groups == index], sizes[groups == index])
            for index, name in enumerate(coarse_names)
        },
    )


def _coarse(covered: np.ndarray, sizes: np.ndarray) -> CoarseSets:
    if not len(covered):
        return CoarseSets(0, None, None, None)
    return CoarseSets(
        examples=len(covered),
        coverage=float(covered.mean()),
        interval=scoring.wilson(int(covered.sum()), len(covered)),
        mean_size=float(sizes.mean()),
    )
