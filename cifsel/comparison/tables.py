"""Tables of the report: scores and costs, differences, configurations, versions."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Bool

from cifsel.comparison import paired
from cifsel.comparison.candidates import Candidate, differing_fields
from cifsel.comparison.reviewed import ReviewEntry
from cifsel.comparison.scores import candidate_cost, candidate_scores
from cifsel.comparison.verdict import Verdict
from cifsel.evaluation import split_score
from cifsel.reports.page import Table
from cifsel.reports.style import display_name, percent, significant
from cifsel.runtime.terminal import duration

T = TypeVar("T")
# Fields that belong to the model itself, so that a difference in them is no unfairness.
_FIELDS_OF_MODELS = ("model", "weights", "drop_path", "alpha")


def score_table(
    candidates: Sequence[Candidate],
    without_duplicate: Bool[np.ndarray, " images"],
    reviewed: ReviewEntry | None = None,
) -> Table:
    """Lists the scores and the cost of each candidate.

    Args:
      candidates: one column each.
      without_duplicate: the test images that have no duplicate in training.
      reviewed: what people said of labels of test images. None if that is not known.
    """
    test = [candidate_scores(candidate, "test") for candidate in candidates]
    val = [candidate_scores(candidate, "val") for candidate in candidates]
    cost = [candidate_cost(candidate) for candidate in candidates]
    cleaned = [
        paired.accuracy(candidate.right("test")[:, without_duplicate]) for candidate in candidates
    ]

    def row(name: str, columns: Sequence[T], text: Callable[[T], str]) -> tuple[str, ...]:
        return (name, *(text(column) for column in columns))

    class_rows = []
    if _classes(candidates) > split_score.TOP:
        class_rows.append(row("top-5", test, lambda s: percent(s.top5, 2)))
    if all(score.majority > 1.01 / _classes(candidates) for score in test):
        class_rows += [
            row("balanced accuracy", test, lambda s: percent(s.balanced_accuracy, 2)),
            row("always the most frequent class", test, lambda s: percent(s.majority, 2)),
        ]
    coarse = [score.coarse_accuracy for score in test if score.coarse_accuracy is not None]
    if len(coarse) == len(test):
        class_rows.append(row("right coarse label", coarse, lambda share: percent(share, 2)))
    cleaned_rows = []
    if not without_duplicate.all():
        name = "test accuracy without duplicates in training"
        cleaned_rows.append(row(name, cleaned, _with_interval))
    if reviewed:
        name = f"test accuracy on the {reviewed.images:,} images whose label people did not reject"
        accuracies = [reviewed.accuracy[candidate.name] for candidate in candidates]
        cleaned_rows.append(row(name, accuracies, _with_interval))
    rows = [
        row("test accuracy (95 % interval)", test, lambda s: _with_interval(s.accuracy)),
        row("of each seed, %", test, lambda s: _by_seed(s.accuracy)),
        row("validation accuracy", val, lambda s: _with_interval(s.accuracy)),
        *cleaned_rows,
        *class_rows,
        row("loss, nats", test, lambda s: f"{s.loss:.4f}"),
        row("macro F1", test, lambda s: f"{s.macro_f1:.4f}"),
        row("calibration error", test, lambda s: percent(s.ece, 1)),
        row("parameters", cost, lambda c: f"{c.parameters / 1e6:.2f} M"),
        row("GFLOPs per image, all views", cost, lambda c: significant(c.flops_per_image / 1e9)),
        row("images/s when scoring", cost, lambda c: f"{c.images_per_second:,.0f}"),
        row("time to fit a seed", cost, lambda c: duration(c.fitting_seconds)),
        row("time of a whole run", cost, lambda c: duration(c.total_seconds)),
    ]
    return Table(("", *(candidate.name for candidate in candidates)), tuple(rows))


def _classes(candidates: Sequence[Candidate]) -> int:
    return len(candidates[0].runs[0].class_names)


def _with_interval(accuracy: paired.Estimate) -> str:
    interval = f"{100 * accuracy.low:.1f} to {100 * accuracy.high:.1f}"
    return f"{percent(accuracy.mean, 2)} ({interval})"


def _by_seed(accuracy: paired.Estimate) -> str:
    seeds = ", ".join(f"{100 * seed:.2f}" for seed in accuracy.by_seed)
    return seeds if accuracy.spread is None else f"{seeds} (spread {100 * accuracy.spread:.2f})"


def difference_table(candidates: Sequence[Candidate], verdict: Verdict) -> Table:
    """Compares the chosen candidate with every other one, on validation and on test."""
    chosen, rows = verdict.chosen, []
    for candidate in candidates:
        if candidate is chosen:
            continue
        for split, split_name in (("val", "validation"), ("test", "test")):
            difference = paired.difference(chosen.right(split), candidate.right(split))
            from_seeds = difference.from_seeds
            rows.append(
                (
                    f"against {candidate.name}, {split_name}",
                    f"{100 * difference.mean:+.2f}",
                    f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f}",
                    f"{difference.p:.2g}",
                    f"{100 * difference.from_images:.2f}",
                    "unknown" if from_seeds is None else f"{100 * from_seeds:.2f}",
                )
            )
    head = (
        chosen.name,
        "difference, points",
        "95 % interval",
        "p",
        "standard error from images",
        "from seeds",
    )
    return Table(head, tuple(rows))


def config_table(candidates: Sequence[Candidate]) -> Table:
    """Lists the fields of the configuration in which the candidates differ."""
    rows = [
        (field, *(str(value) for value in values))
        for field, values in differing_fields(candidates).items()
    ]
    return Table(("field", *(candidate.name for candidate in candidates)), tuple(rows))


def version_table(candidates: Sequence[Candidate]) -> Table:
    """Lists when, where and with which software each run was made."""
    rows = []
    for run in (run for candidate in candidates for run in candidate.runs):
        provenance = run.metrics.provenance
        installed = (
            f"{name} {version}" for name, version in provenance.versions.items() if version
        )
        rows.append(
            (
                str(run.folder),
                str(run.config["seed"]),
                str(provenance.finished),
                provenance.devices.words,
                str(provenance.git_commit)[:12],
                ", ".join(installed),
            )
        )
    return Table(("run", "seed", "finished", "device", "commit", "versions"), tuple(rows))


def warnings(candidates: Sequence[Candidate]) -> list[str]:
    """Lists the reservations under which the numbers must be read."""
    messages = []
    if any(len(candidate.runs) < 2 for candidate in candidates):
        messages.append(
            "One seed of a model says nothing of how much its accuracy changes with the seed: the"
            " intervals cover the choice of images only."
        )
    unequal = [
        display_name(field)
        for field in differing_fields(candidates)
        if field not in _FIELDS_OF_MODELS
    ]
    if unequal:
        messages.append(
            "The candidates differ in more than the model:"
            f" {', '.join(unequal)}. The comparison is of the whole recipes."
        )
    return messages
