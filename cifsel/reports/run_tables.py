"""The tables on the page of a single run of task 1."""

from collections.abc import Sequence
from typing import Any

from cifsel.evaluation.prediction_sets import SetScore
from cifsel.evaluation.split_score import SplitScore
from cifsel.reports.page import Table
from cifsel.reports.style import display_name, percent, significant
from cifsel.runtime.terminal import duration
from cifsel.training.results import RunMetrics

# Of the sets by coarse label.
SHOWN_COVERAGE = 0.9


def score_table(metrics: RunMetrics) -> Table:
    """The scores of test and validation images."""
    splits = metrics.test, metrics.val

    def interval(score: SplitScore) -> str:
        low, high = (100 * end for end in score.accuracy_interval)
        return f"{percent(score.accuracy, 2)} ({low:.1f} to {high:.1f})"

    rows = (
        ("accuracy (95 % interval)", *map(interval, splits)),
        *_class_rows(splits),
        ("loss, nats", *(f"{score.loss:.4f}" for score in splits)),
        ("macro F1", *(f"{score.macro_f1:.4f}" for score in splits)),
        ("calibration error", *(percent(score.ece, 1) for score in splits)),
        ("images", *(f"{score.examples:,}" for score in splits)),
    )
    return Table(("", "test", "validation"), rows)


def _class_rows(splits: Sequence[SplitScore]) -> list[tuple[str, ...]]:
    """The rows that more than five classes, unequal ones, and coarse labels need."""
    rows = []
    if splits[0].has_top5:
        rows.append(("top-5", *(percent(score.top5, 2) for score in splits)))
    if any(len({score.examples for score in s.per_class.values()}) > 1 for s in splits):
        rows += [
            ("balanced accuracy", *(percent(score.balanced_accuracy, 2) for score in splits)),
            ("always the most frequent class", *(percent(s.majority, 2) for s in splits)),
        ]
    coarse = [s.coarse_accuracy for s in splits if s.coarse_accuracy is not None]
    if len(coarse) == len(splits):
        rows.append(("right coarse label", *(percent(share, 2) for share in coarse)))
    return rows


def set_table(sets: Sequence[SetScore]) -> Table:
    """How often sets of classes hold the true one, and how many classes they have."""

    def with_interval(value: str, ends: tuple[float, float], scale: float) -> str:
        low, high = (scale * end for end in ends)
        return f"{value} ({low:.1f} to {high:.1f})"

    rows = [
        (
            percent(score.wanted),
            with_interval(percent(score.coverage, 1), score.interval, 100),
            with_interval(f"{score.mean_size:.1f}", score.mean_size_interval, 1),
            percent(score.single),
            f"{score.threshold:.3f}",
        )
        for score in sets
    ]
    head = ("asked for", "true class in the set", "classes in a set", "sets of one", "threshold")
    return Table(head, tuple(rows))


def coarse_set_table(score: SetScore) -> Table:
    """The same by coarse label, the least covered first, with the interval of the coverage."""
    rows = sorted(
        (item for item in score.per_coarse.items() if item[1].coverage is not None),
        key=lambda item: item[1].coverage or 0.0,
    )
    return Table(
        ("coarse label", "true class in the set", "classes in a set"),
        tuple(
            (
                display_name(name),
                f"{percent(sets.coverage or 0.0, 1)}"
                f" ({' to '.join(f'{100 * end:.1f}' for end in sets.interval or ())})",
                f"{sets.mean_size:.1f}",
            )
            for name, sets in rows
        ),
    )


def cost_table(metrics: RunMetrics) -> Table:
    """Size, operations and times."""
    cost = metrics.cost
    operations = "not known"
    if cost.flops_per_image:
        operations = significant(cost.flops_per_image * cost.passes_per_image / 1e9)
    rows = [
        ("parameters", f"{cost.parameters:,}"),
        ("GFLOPs per image, all views", operations),
        ("images/s when scoring", f"{cost.images_per_second:,.0f}"),
        *((f"time: {phase}", duration(seconds)) for phase, seconds in cost.seconds.items()),
    ]
    return Table(("", ""), tuple(rows))


def settings_table(settings: dict[str, Any]) -> Table:
    """All fields of the config."""
    rows = []
    for field, value in sorted(settings.items()):
        nested = value.items() if isinstance(value, dict) else ()
        rows += [(f"{field}.{name}", str(inner)) for name, inner in nested]
        if not isinstance(value, dict):
            rows.append((field, str(value)))
    return Table(("field", "value"), tuple(rows))


def version_table(metrics: RunMetrics) -> Table:
    """Facts that a repetition of the run needs."""
    provenance = metrics.provenance
    versions = [f"{name} {version}" for name, version in provenance.versions.items() if version]
    rows = (
        ("finished", str(provenance.finished)),
        ("device", provenance.devices.words),
        ("commit", str(provenance.git_commit)[:12]),
        ("weights", metrics.weights.tensors_sha256[:12] if metrics.weights else "none"),
        ("data", metrics.fingerprint[:12]),
        ("versions", ", ".join(versions)),
    )
    return Table(("", ""), rows)
