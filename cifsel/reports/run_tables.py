"""The tables on the page of a single run of task 1."""

from collections.abc import Sequence
from typing import Any

from cifsel.evaluation.split_score import SplitScore
from cifsel.reports.page import Table
from cifsel.reports.style import percent, significant
from cifsel.runtime.terminal import duration
from cifsel.training.results import RunMetrics


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
    """What a repetition needs to know."""
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
