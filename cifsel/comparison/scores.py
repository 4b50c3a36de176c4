"""Scores, predictions and cost of a candidate over all its seeds."""

import dataclasses
import statistics
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from cifsel.comparison import paired
from cifsel.comparison.candidates import Candidate
from cifsel.evaluation import scoring


@dataclasses.dataclass(frozen=True)
class CandidateScores:
    """Scores of a candidate on one split, means over its seeds. Shares lie in 0..1.

    Attributes:
      accuracy: with its interval.
      loss: cross-entropy, in nats.
      top5: share of images whose class is among the five most probable.
      macro_f1: mean F1 over the classes.
      ece: expected calibration error.
      balanced_accuracy: mean accuracy of the classes.
      majority: accuracy of always answering the most frequent class.
      coarse_accuracy: share of images whose predicted class has the right coarse label. None if
        there are no coarse labels.
    """

    accuracy: paired.Estimate
    loss: float
    top5: float
    macro_f1: float
    ece: float
    balanced_accuracy: float
    majority: float
    coarse_accuracy: float | None


@dataclasses.dataclass(frozen=True)
class CandidateCost:
    """Cost of a candidate. Speed and times are means over its seeds.

    Attributes:
      parameters: number of parameters.
      flops_per_image: floating-point operations to classify an image, all its views included.
      views_per_image: forward passes per image: 2 with mirroring, else 1.
      images_per_second: speed of scoring.
      fitting_seconds: time of probe and fine-tuning.
      total_seconds: time of the whole run.
    """

    parameters: int
    flops_per_image: float
    views_per_image: int
    images_per_second: float
    fitting_seconds: float
    total_seconds: float


@dataclasses.dataclass(frozen=True)
class CoarseComparison:
    """Test accuracy of two candidates A and B on the images of one coarse label.

    Attributes:
      name: of the coarse label.
      examples: number of images.
      a: accuracy of A, 0..1.
      b: accuracy of B.
      difference: A minus B, paired.
    """

    name: str
    examples: int
    a: float
    b: float
    difference: paired.Difference


def candidate_scores(candidate: Candidate, split: str) -> CandidateScores:
    """Averages the scores of a candidate on 'val' or 'test' over its seeds."""
    scores = [run.score(split) for run in candidate.runs]
    coarse = [score.coarse_accuracy for score in scores if score.coarse_accuracy is not None]
    return CandidateScores(
        accuracy=paired.accuracy(candidate.right(split)),
        loss=statistics.fmean(score.loss for score in scores),
        top5=statistics.fmean(score.top5 for score in scores),
        macro_f1=statistics.fmean(score.macro_f1 for score in scores),
        ece=statistics.fmean(score.ece for score in scores),
        balanced_accuracy=statistics.fmean(score.balanced_accuracy for score in scores),
        majority=scores[0].majority,
        coarse_accuracy=statistics.fmean(coarse) if len(coarse) == len(scores) else None,
    )


def candidate_cost(candidate: Candidate) -> CandidateCost:
    """Averages the cost of a candidate over its seeds."""
    costs = [run.metrics.cost for run in candidate.runs]
    return CandidateCost(
        parameters=costs[0].parameters,
        flops_per_image=operations_per_image(candidate),
        views_per_image=costs[0].passes_per_image,
        images_per_second=statistics.fmean(cost.images_per_second for cost in costs),
        fitting_seconds=statistics.fmean(
            cost.seconds.get("probe", 0.0) + cost.seconds.get("training", 0.0) for cost in costs
        ),
        total_seconds=statistics.fmean(sum(cost.seconds.values()) for cost in costs),
    )


def operations_per_image(candidate: Candidate) -> float:
    """Returns the floating-point operations to classify an image, all its views included."""
    cost = candidate.runs[0].metrics.cost
    # XLA does not count them for every backend. Then more parameters stand for more operations.
    return (cost.flops_per_image or cost.parameters) * cost.passes_per_image


def compare_coarse_labels(
    candidate: Candidate,
    rival: Candidate,
    coarse_of: Int[np.ndarray, " classes"],
    coarse_names: Sequence[str],
) -> tuple[CoarseComparison, ...]:
    """Compares two candidates on the test images of each coarse label.

    Args:
      candidate: A.
      rival: B.
      coarse_of: the coarse label of each class.
      coarse_names: names of the coarse labels.

    Returns:
      One entry per coarse label that has images, in the order of the names.
    """
    if not coarse_names:
        return ()
    coarse_of_image = coarse_of[candidate.runs[0].labels["test"]]
    right_a, right_b = candidate.right("test"), rival.right("test")
    comparisons = []
    for coarse, name in enumerate(coarse_names):
        members = coarse_of_image == coarse
        if not members.any():
            continue
        a, b = right_a[:, members], right_b[:, members]
        comparisons.append(
            CoarseComparison(
                name,
                examples=int(members.sum()),
                a=float(a.mean()),
                b=float(b.mean()),
                difference=paired.difference(a, b),
            )
        )
    return tuple(comparisons)


def confusion(candidate: Candidate, num_classes: int) -> Int[np.ndarray, "k k"]:
    """Counts predictions of test images by all seeds: rows true, columns predicted."""
    predictions = np.concatenate([run.predictions("test") for run in candidate.runs])
    labels = np.tile(candidate.runs[0].labels["test"], len(candidate.runs))
    return scoring.confusion(labels, predictions, num_classes)


def mean_probabilities(candidate: Candidate) -> Float[np.ndarray, "n k"]:
    """Averages the class probabilities of the test images over the seeds."""
    return np.mean([scoring.softmax(run.logits["test"]) for run in candidate.runs], axis=0)
