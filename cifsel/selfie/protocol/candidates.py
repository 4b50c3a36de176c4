"""The candidates of task 2: linear probes, each with its out-of-fold predictions.

All candidates see the same photos and folds. They differ in weights or crop.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from cifsel.comparison import paired
from cifsel.evaluation.distances import Typical
from cifsel.selfie.protocol.folds import Folds
from cifsel.selfie.protocol.layer_features import LayerFeatures
from cifsel.selfie.protocol.pretrained import PretrainedBackbone
from cifsel.selfie.protocol.scores import Scores, Sure


@dataclasses.dataclass(frozen=True)
class ProbeChoice:
    """The settings that a share of the folds chose.

    Attributes:
      layers: names of `backbone.layer_names`. The logits of several are averaged.
      grid: the number of cells along each side over which a layer's output is averaged.
      l2: the penalty.
      share: of the folds.
    """

    layers: tuple[str, ...]
    grid: int
    l2: float
    share: float


@dataclasses.dataclass(frozen=True, eq=False)
class CandidateScores:
    """The scores of a candidate, and what it chose from.

    Attributes:
      name: for people.
      source: the run or weight file that its backbone comes from.
      model: one of `classifier.MODELS`.
      alpha: MobileNet's width multiplier.
      crop: the part of a photo that it is shown, one of `crops.CROPS`.
      kfold: by repeated k-fold cross-validation.
      leave_one_out: with each group held out by itself. None if that was not done.
      choices: the settings that the folds chose.
    """

    name: str
    source: str
    model: str
    alpha: float
    crop: str
    kfold: Scores
    leave_one_out: Scores | None
    choices: tuple[ProbeChoice, ...]

    @property
    def photo_by_photo(self) -> Scores:
        """Leave-one-out, or k-fold where that was not done."""
        return self.leave_one_out or self.kfold


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """A candidate with everything that a final classifier is made from.

    Attributes:
      scores: what the report says of it.
      backbone: its weights.
      folds: of the cross-validation that `probabilities` come from.
      probabilities: out of fold, for each repetition.
      features: the features that the probe chooses from or averages over.
    """

    scores: CandidateScores
    backbone: PretrainedBackbone
    folds: Folds
    probabilities: Float[np.ndarray, "r n k"]
    features: tuple[LayerFeatures, ...]


@dataclasses.dataclass(frozen=True)
class FinalSettings:
    """The settings of the classifier that has learned from all photos.

    Attributes:
      layers: the layers that its features come from. The logits of several are averaged.
      grid: the number of cells along each side over which a layer's output is averaged.
      l2: the penalty.
      temperature: by which it divides its logits.
      sure: the confidence from which on its answers are called sure. None if none is.
      unlike_from: the distance from which on a photo is called unlike those of training.
    """

    layers: tuple[str, ...]
    grid: int
    l2: float
    temperature: float
    sure: Sure | None
    unlike_from: float


@dataclasses.dataclass(frozen=True, eq=False)
class FinalClassifier:
    """The head that has learned from all photos, and what is known of it.

    Attributes:
      settings: the settings that were chosen for it.
      kernel: of the head, float32.
      bias: of the head, float32.
      typical: the features of the photos that it has learned from.
    """

    settings: FinalSettings
    kernel: Float[np.ndarray, "d k"]
    bias: Float[np.ndarray, " k"]
    typical: Typical


@dataclasses.dataclass(frozen=True)
class Difference:
    """The accuracy of one candidate minus that of another on the same photos.

    Attributes:
      name: of the one.
      against: the name of the other.
      mean: the difference, a share of 1.
      low: lower end of its 95 % interval.
      high: upper end.
      p: the probability of a difference at least as large between equally good candidates.
    """

    name: str
    against: str
    mean: float
    low: float
    high: float
    p: float


def difference(candidate: Candidate, other: Candidate, labels: Int[np.ndarray, " n"]) -> Difference:
    """Compares two candidates on the same photos, held out in the same way.

    That is by leave-one-out if both have it. Else it is the first repetition of k-fold, which all
    candidates share.
    """
    first, second = candidate.scores.leave_one_out, other.scores.leave_one_out
    if first and second:
        probabilities = first.probabilities[None], second.probabilities[None]
    else:
        probabilities = candidate.probabilities[:1], other.probabilities[:1]
    estimate = paired.difference(*(rows.argmax(2) == labels for rows in probabilities))
    return Difference(
        name=candidate.scores.name,
        against=other.scores.name,
        mean=estimate.mean,
        low=estimate.low,
        high=estimate.high,
        p=estimate.p,
    )


def differences_of(
    candidates: Sequence[Candidate], labels: Int[np.ndarray, " n"]
) -> tuple[Difference, ...]:
    """Compares the first candidate with each other one."""
    return tuple(difference(candidates[0], other, labels) for other in candidates[1:])
