"""The tables of a report: scores and costs, differences, what was unequal, versions."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cifsel.comparison import paired, verdict
from cifsel.comparison.runs import Candidate, differing_fields
from cifsel.comparison.verdict import Verdict
from cifsel.reports.page import Table
from cifsel.reports.style import display_name, percent
from cifsel.terminal import duration


def scores(candidates: Sequence[Candidate], apart: np.ndarray) -> Table:
    """What each candidate achieves, and what it costs.

    Args:
      candidates: one column each.
      apart: (N,) bool, the test images that have no twin in training.
    """
    test = [verdict.scores(candidate, "test") for candidate in candidates]
    val = [verdict.scores(candidate, "val") for candidate in candidates]
    cost = [verdict.cost(candidate) for candidate in candidates]
    without_twins = [
        dataclasses.asdict(paired.accuracy(candidate.right("test")[:, apart]))
        for candidate in candidates
    ]

    def row(name: str, values: Sequence[Any], text: Callable[[Any], str]) -> tuple[str, ...]:
        return (name, *(text(value) for value in values))

    def of(split: Sequence[dict[str, Any]], name: str) -> list[Any]:
        return [score[name] for score in split]

    def with_interval(one: Mapping[str, Any]) -> str:
        return f"{percent(one['mean'], 2)} ({100 * one['low']:.1f} to {100 * one['high']:.1f})"

    def by_seed(one: Mapping[str, Any]) -> str:
        found = ", ".join(f"{100 * accuracy:.2f}" for accuracy in one["by_seed"])
        spread = one["spread"]
        return found if spread is None else f"{found}; spread {100 * spread:.2f}"

    rows = [
        row("test accuracy (95 % interval)", of(test, "accuracy"), with_interval),
        row("of each seed, %", of(test, "accuracy"), by_seed),
        row("validation accuracy", of(val, "accuracy"), with_interval),
        row("test accuracy without twins in training", without_twins, with_interval),
        row("top-5", of(test, "top5"), lambda v: percent(v, 2)),
        row("right coarse label", of(test, "coarse_accuracy"), lambda v: percent(v, 2)),
        row("loss, nats", of(test, "loss"), lambda v: f"{v:.4f}"),
        row("macro F1", of(test, "macro_f1"), lambda v: f"{v:.4f}"),
        row("calibration error", of(test, "ece"), lambda v: percent(v, 1)),
        row("parameters", of(cost, "parameters"), lambda v: f"{v / 1e6:.2f} M"),
        row("GFLOPs per image, all views", of(cost, "flops_per_image"), lambda v: f"{v / 1e9:.2f}"),
        row("images/s when scoring", of(cost, "images_per_second"), lambda v: f"{v:,.0f}"),
        row("time to fit a seed", of(cost, "fitting_seconds"), duration),
        row("time of a whole run", of(cost, "total_seconds"), duration),
    ]
    return Table(("", *(candidate.name for candidate in candidates)), tuple(rows))


def pairs(candidates: Sequence[Candidate], decided: Verdict) -> Table:
    """The chosen candidate against every other one, on validation and on test."""
    chosen, rows = candidates[decided.chosen], []
    for candidate in candidates:
        if candidate is chosen:
            continue
        for split, name in (("val", "validation"), ("test", "test")):
            found = paired.difference(chosen.right(split), candidate.right(split))
            rows.append(
                (
                    f"against {candidate.name}, {name}",
                    f"{100 * found.mean:+.2f}",
                    f"{100 * found.low:+.2f} to {100 * found.high:+.2f}",
                    f"{found.p:.2g}",
                    f"{100 * found.from_images:.2f}",
                    "unknown" if found.from_seeds is None else f"{100 * found.from_seeds:.2f}",
                )
            )
    head = (
        f"{chosen.name}",
        "difference, points",
        "95 % interval",
        "p",
        "standard error from images",
        "from seeds",
    )
    return Table(head, tuple(rows))


def fairness(candidates: Sequence[Candidate]) -> Table:
    """Fields of the configuration in which the candidates differ."""
    rows = [
        (field, *(str(value) for value in values))
        for field, values in differing_fields(candidates).items()
    ]
    return Table(("field", *(candidate.name for candidate in candidates)), tuple(rows))


def versions(candidates: Sequence[Candidate]) -> Table:
    """When, where and with what each run was made."""
    rows = []
    for candidate in candidates:
        for run in candidate.runs:
            about = run.metrics
            shown = (f"{k} {v}" for k, v in about.get("versions", {}).items() if v)
            device = about.get("devices", {})
            rows.append(
                (
                    str(run.folder),
                    str(run.config["seed"]),
                    str(about.get("finished")),
                    f"{device.get('count')} x {device.get('kind')}",
                    str(about.get("git_commit"))[:12],
                    ", ".join(shown),
                )
            )
    return Table(("run", "seed", "finished", "device", "commit", "versions"), tuple(rows))


def warnings(candidates: Sequence[Candidate]) -> list[str]:
    """What a reader must know before believing the figures."""
    found = []
    if any(len(candidate.runs) < 2 for candidate in candidates):
        found.append(
            "One seed of a model says nothing of how much its accuracy changes with the seed: the"
            " intervals cover the choice of images only."
        )
    unequal = [
        display_name(field)
        for field in differing_fields(candidates)
        if field not in ("model", "weights", "drop_path", "alpha")
    ]
    if unequal:
        found.append(
            "The candidates differ in more than the model:"
            f" {', '.join(unequal)}. The comparison is of the whole recipes."
        )
    return found
