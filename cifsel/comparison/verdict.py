"""The comparison itself: scores of every candidate, differences, and which one to use."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cifsel.comparison import paired
from cifsel.comparison.runs import SPLITS, Candidate

# Scores of metrics.json that are averaged over seeds as they are.
AVERAGED = ("loss", "top5", "macro_f1", "ece", "coarse_accuracy")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Which candidate to use, decided on validation images alone.

    Attributes:
      chosen: position of the candidate to use.
      leader: position of the one with the highest validation accuracy.
      rival: the one that `chosen` is held against: the best of the others, on validation.
      differences: accuracy of `chosen` minus that of `rival`, on 'val' and 'test'.
    """

    chosen: int
    leader: int
    rival: int
    differences: Mapping[str, paired.Difference]

    @property
    def within_noise(self) -> bool:
        """Whether validation cannot tell the chosen one from its rival."""
        return not self.differences["val"].significant


def decide(candidates: Sequence[Candidate]) -> Verdict:
    """Takes the best on validation, or the cheapest of those it cannot be told from.

    Test images have no say: their difference is reported, not used.
    """
    right = [candidate.right("val") for candidate in candidates]
    means = [float(one.mean()) for one in right]
    leader = int(np.argmax(means))
    equals = [
        i
        for i, one in enumerate(right)
        if i == leader or not paired.difference(right[leader], one).significant
    ]
    chosen = min(equals, key=lambda i: (arithmetic(candidates[i]), -means[i]))
    others = [i for i in range(len(candidates)) if i != chosen]
    rival = max(others, key=lambda i: means[i])
    ours, theirs = candidates[chosen], candidates[rival]
    return Verdict(
        chosen=chosen,
        leader=leader,
        rival=rival,
        differences={
            split: paired.difference(ours.right(split), theirs.right(split)) for split in SPLITS
        },
    )


def arithmetic(candidate: Candidate) -> float:
    """Floating-point operations to classify one image, all its views included."""
    cost = candidate.runs[0].metrics["cost"]
    # Where the compiler did not count, more parameters stand for more work.
    return (cost["flops_per_image"] or cost["parameters"]) * cost["passes_per_image"]


def scores(candidate: Candidate, split: str) -> dict[str, Any]:
    """What is reported of a candidate on one split, averaged over its seeds; JSON-ready."""
    found = [run.metrics[split] for run in candidate.runs]
    averaged = {name: statistics.fmean(score[name] for score in found) for name in AVERAGED}
    return {"accuracy": dataclasses.asdict(paired.accuracy(candidate.right(split))), **averaged}


def cost(candidate: Candidate) -> dict[str, Any]:
    """Size, arithmetic, speed and time, the last two as means over the seeds; JSON-ready."""
    found = [run.metrics["cost"] for run in candidate.runs]
    return {
        "parameters": found[0]["parameters"],
        "flops_per_image": arithmetic(candidate),
        "views_per_image": found[0]["passes_per_image"],
        "images_per_second": statistics.fmean(one["images_per_second"] for one in found),
        "fitting_seconds": statistics.fmean(
            one["seconds"].get("probe", 0.0) + one["seconds"].get("training", 0.0) for one in found
        ),
        "total_seconds": statistics.fmean(sum(one["seconds"].values()) for one in found),
    }


def per_group(
    candidate: Candidate, rival: Candidate, groups: np.ndarray, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Test accuracy of two candidates within groups of classes, and their paired difference.

    Args:
      candidate: A.
      rival: B.
      groups: (K,) integer, the group of each class.
      names: of the groups.

    Returns:
      One entry per group that has images: name, examples, a, b, difference; JSON-ready.
    """
    of_image = groups[candidate.runs[0].labels["test"]]
    a, b = candidate.right("test"), rival.right("test")
    entries = []
    for group, name in enumerate(names):
        members = of_image == group
        if not members.any():
            continue
        entries.append(
            {
                "name": name,
                "examples": int(members.sum()),
                "a": float(a[:, members].mean()),
                "b": float(b[:, members].mean()),
                "difference": dataclasses.asdict(paired.difference(a[:, members], b[:, members])),
            }
        )
    return entries


def sentence(candidates: Sequence[Candidate], verdict: Verdict) -> str:
    """The verdict in one sentence, from validation alone."""
    chosen, rival = candidates[verdict.chosen], candidates[verdict.rival]
    found = (
        f"{_percent(chosen, 'val')} of the validation images right against"
        f" {_percent(rival, 'val')} ({_chance(verdict.differences['val'].p)})"
    )
    if verdict.within_noise:
        return (
            f"{chosen.name} and {rival.name} are within noise of each other, {found}:"
            f" {chosen.name} is preferred, {_advantage(chosen, rival)}."
        )
    return f"{chosen.name} is better than {rival.name}: {found}."


def on_test(candidates: Sequence[Candidate], verdict: Verdict) -> str:
    """What the test images, scored after the decision, say of the same two."""
    chosen, rival = candidates[verdict.chosen], candidates[verdict.rival]
    found = verdict.differences["test"]
    return (
        f"On the {chosen.right('test').shape[1]:,} test images, which had no say in this,"
        f" {chosen.name} has {_percent(chosen, 'test')} right and {rival.name}"
        f" {_percent(rival, 'test')}: a difference of {100 * found.mean:+.1f} points, 95 % interval"
        f" {100 * found.low:+.1f} to {100 * found.high:+.1f}, {_chance(found.p)}."
    )


def _advantage(chosen: Candidate, rival: Candidate) -> str:
    ratio = arithmetic(chosen) / arithmetic(rival)
    if ratio < 1:
        return f"as it needs {ratio:.2f} times the arithmetic per image"
    return "as it is no dearer and was ahead"


def _percent(candidate: Candidate, split: str) -> str:
    return f"{100 * candidate.right(split).mean():.1f} %"


def _chance(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
