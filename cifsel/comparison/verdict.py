"""The choice of a candidate, made on validation images, and the sentences that state it."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from cifsel.comparison import paired
from cifsel.comparison.candidates import Candidate
from cifsel.comparison.scores import operations_per_image
from cifsel.workdir.predictions import SPLITS


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The candidate to use, chosen on validation images alone.

    Attributes:
      chosen: the candidate to use.
      leader: the candidate of highest validation accuracy.
      rival: of the others, the one of highest validation accuracy.
      differences: accuracy of `chosen` minus that of `rival`, on 'val' and 'test'.
    """

    chosen: Candidate
    leader: Candidate
    rival: Candidate
    differences: Mapping[str, paired.Difference]

    @property
    def within_noise(self) -> bool:
        """Whether the difference on validation images is not significant."""
        return not self.differences["val"].significant


def decide(candidates: Sequence[Candidate]) -> Verdict:
    """Chooses the cheapest of those candidates that do not differ significantly from the best.

    Validation images decide. The difference on test images is reported, but not used.
    """
    right = [candidate.right("val") for candidate in candidates]
    means = [float(matrix.mean()) for matrix in right]
    leader = int(np.argmax(means))
    equals = [
        i
        for i, matrix in enumerate(right)
        if i == leader or not paired.difference(right[leader], matrix).significant
    ]
    chosen = min(equals, key=lambda i: (operations_per_image(candidates[i]), -means[i]))
    others = [i for i in range(len(candidates)) if i != chosen]
    rival = max(others, key=lambda i: means[i])
    return Verdict(
        chosen=candidates[chosen],
        leader=candidates[leader],
        rival=candidates[rival],
        differences={
            split: paired.difference(
                candidates[chosen].right(split), candidates[rival].right(split)
            )
            for split in SPLITS
        },
    )


def sentence_on_validation(verdict: Verdict) -> str:
    """States the verdict in one sentence, from validation images alone."""
    chosen, rival = verdict.chosen, verdict.rival
    accuracies = (
        f"{_accuracy(chosen, 'val')} of the validation images right against"
        f" {_accuracy(rival, 'val')} ({_p_value(verdict.differences['val'].p)})"
    )
    if verdict.within_noise:
        return (
            f"{chosen.name} and {rival.name} are within noise of each other, {accuracies}:"
            f" {chosen.name} is preferred, {_advantage(chosen, rival)}."
        )
    return f"{chosen.name} is better than {rival.name}: {accuracies}."


def sentence_on_test(verdict: Verdict) -> str:
    """States the difference of the same two candidates on the test images."""
    chosen, rival = verdict.chosen, verdict.rival
    difference = verdict.differences["test"]
    return (
        f"On the {chosen.right('test').shape[1]:,} test images, which had no say in this,"
        f" {chosen.name} has {_accuracy(chosen, 'test')} right and {rival.name}"
        f" {_accuracy(rival, 'test')}: a difference of {100 * difference.mean:+.1f} points, 95 %"
        f" interval {100 * difference.low:+.1f} to {100 * difference.high:+.1f},"
        f" {_p_value(difference.p)}."
    )


def _advantage(chosen: Candidate, rival: Candidate) -> str:
    ratio = operations_per_image(chosen) / operations_per_image(rival)
    if ratio < 1:
        return f"as it needs {ratio:.2f} times the arithmetic per image"
    return "as it is no dearer and was ahead"


def _accuracy(candidate: Candidate, split: str) -> str:
    return f"{100 * candidate.right(split).mean():.1f} %"


def _p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
