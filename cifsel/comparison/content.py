"""What a report says, before it becomes HTML, Markdown or summaries."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cifsel import evaluate, figures
from cifsel.comparison import charts, duplicates, paired, suspects, verdict
from cifsel.comparison.examples import Examples, Gallery, confusion
from cifsel.comparison.runs import Candidate, differing_fields
from cifsel.comparison.verdict import Verdict
from cifsel.data.splits import Dataset
from cifsel.rendering import percent, plain
from cifsel.terminal import duration


@dataclasses.dataclass(frozen=True)
class Chart:
    """A figure with its heading.

    Attributes:
      name: short, for files and summaries.
      title: the heading.
      figure: of about 5.4 inches, or larger if `large`.
      large: too large for a phone: it is shown as pixels, to be scrolled.
    """

    name: str
    title: str
    figure: Figure
    large: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of text below a head; the first cell of each says what the others are."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class Content:
    """A whole report."""

    sentence: str
    on_test: str
    scores: Table
    pairs: Table
    fairness: Table
    charts: tuple[Chart, ...]
    galleries: tuple[Gallery, ...]
    commands: tuple[str, ...]
    versions: Table
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Findings:
    """What is known of the test images themselves.

    Attributes:
      duplicates: test images with a twin in training.
      suspects: test images whose label every run contradicts.
    """

    duplicates: Sequence[duplicates.Duplicate]
    suspects: Sequence[suspects.Suspect]

    @classmethod
    def of(cls, dataset: Dataset, candidates: Sequence[Candidate]) -> "Findings":
        """Looks at the images, and at what all runs say of them."""
        training = np.concatenate([dataset.train.images, dataset.val.images])
        probabilities = [
            evaluate.softmax(run.logits["test"])
            for candidate in candidates
            for run in candidate.runs
        ]
        return cls(
            duplicates.find(dataset.test.images, training),
            suspects.find(probabilities, dataset.test.labels),
        )

    def apart(self, count: int) -> np.ndarray:
        """(count,) bool: the test images that have no twin in training."""
        kept = np.ones(count, bool)
        kept[[one.test_position for one in self.duplicates]] = False
        return kept


def make(
    dataset: Dataset, candidates: Sequence[Candidate], decided: Verdict, findings: Findings
) -> Content:
    """Builds the report of a comparison."""
    pair = candidates[decided.chosen], candidates[decided.rival]
    # In one order everywhere, so that each keeps its colour.
    ordered = [*pair, *(one for one in candidates if one not in pair)]
    examples = Examples(dataset, pair)
    runs = [run for candidate in ordered for run in candidate.runs]
    galleries = (
        examples.confused(0),
        examples.confused(1),
        examples.disagreements(0),
        examples.disagreements(1),
        examples.attention(),
        examples.suspects(findings.suspects, len(runs), suspects.LEAST),
        examples.duplicates(findings.duplicates, duplicates.CRITERION),
    )
    return Content(
        sentence=verdict.sentence(candidates, decided),
        on_test=verdict.on_test(candidates, decided),
        scores=_scores(ordered, findings),
        pairs=_pairs(candidates, decided),
        fairness=_fairness(ordered),
        charts=tuple(_charts(dataset, ordered, pair)),
        galleries=galleries,
        commands=tuple(run.metrics["command"] for run in runs),
        versions=_versions(ordered),
        warnings=tuple(_warnings(candidates)),
    )


def _scores(candidates: Sequence[Candidate], findings: Findings) -> Table:
    test = [verdict.scores(candidate, "test") for candidate in candidates]
    val = [verdict.scores(candidate, "val") for candidate in candidates]
    cost = [verdict.cost(candidate) for candidate in candidates]
    apart = [
        paired.accuracy(candidate.right("test")[:, findings.apart(len(candidate.right("test")[0]))])
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
        row(
            "test accuracy without twins in training",
            [dataclasses.asdict(one) for one in apart],
            with_interval,
        ),
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


def _pairs(candidates: Sequence[Candidate], decided: Verdict) -> Table:
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


def _fairness(candidates: Sequence[Candidate]) -> Table:
    rows = [
        (field, *(str(value) for value in values))
        for field, values in differing_fields(candidates).items()
    ]
    return Table(("field", *(candidate.name for candidate in candidates)), tuple(rows))


def _charts(
    dataset: Dataset, candidates: Sequence[Candidate], pair: tuple[Candidate, Candidate]
) -> list[Chart]:
    test = {c.name: paired.accuracy(c.right("test")) for c in candidates}
    found = [
        Chart(
            "accuracy_by_seed",
            "Test accuracy",
            charts.seeds(
                {name: one.by_seed for name, one in test.items()},
                {name: (one.low, one.high) for name, one in test.items()},
            ),
        ),
        Chart("accuracy_against_cost", "Accuracy against cost", charts.cost(_points(candidates))),
    ]
    histories = {
        c.name: [run.metrics["training"]["history"] for run in c.runs]
        for c in candidates
        if c.runs[0].metrics["training"]["history"]
    }
    if histories:
        found.append(Chart("training_curves", "Training", charts.curves(histories)))
    names = pair[0].name, pair[1].name
    by_class = [_accuracy_by_class(dataset, candidate) for candidate in pair]
    coarse = verdict.per_group(*pair, dataset.coarse_of, dataset.coarse_names)
    rows = [
        (e["name"], e["a"], e["b"], *(e["difference"][k] for k in ("mean", "low", "high")))
        for e in coarse
    ]
    tables = {c.name: _pooled_calibration(c, dataset.test.labels) for c in candidates}
    found += [
        Chart("per_coarse", "By coarse label", charts.per_coarse(rows, *names)),
        Chart(
            "per_class",
            "Class by class",
            charts.per_class(dataset.class_names, by_class[0], by_class[1], *names),
        ),
        Chart("reliability", "Can its confidence be believed?", charts.reliability(tables)),
    ]
    for which, candidate in enumerate(pair):
        figure = figures.confusion_matrix(
            confusion(candidate, len(dataset.class_names)),
            dataset.class_names,
            dataset.coarse_names,
            dataset.coarse_of,
        )
        name = f"confusion_matrix_{which + 1}"
        found.append(Chart(name, f"Confusion matrix of {candidate.name}", figure, large=True))
    return found


def _pooled_calibration(candidate: Candidate, labels: np.ndarray) -> Mapping[str, np.ndarray]:
    """Of all seeds' own predictions: averaging probabilities first would change the confidence."""
    probabilities = np.concatenate([evaluate.softmax(r.logits["test"]) for r in candidate.runs])
    return evaluate.calibration(probabilities, np.tile(labels, len(candidate.runs)))


def _points(candidates: Sequence[Candidate]) -> list[charts.CostPoint]:
    points = []
    for candidate in candidates:
        accuracy, cost = paired.accuracy(candidate.right("test")), verdict.cost(candidate)
        points.append(
            charts.CostPoint(
                candidate.name,
                cost["flops_per_image"],
                cost["images_per_second"],
                accuracy.mean,
                accuracy.low,
                accuracy.high,
            )
        )
    return points


def _accuracy_by_class(dataset: Dataset, candidate: Candidate) -> np.ndarray:
    right, labels = candidate.right("test").mean(0), dataset.test.labels
    count = np.bincount(labels, minlength=len(dataset.class_names))
    return np.bincount(labels, weights=right, minlength=len(count)) / np.maximum(count, 1)


def _versions(candidates: Sequence[Candidate]) -> Table:
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


def _warnings(candidates: Sequence[Candidate]) -> list[str]:
    found = []
    if any(len(candidate.runs) < 2 for candidate in candidates):
        found.append(
            "One seed of a model says nothing of how much its accuracy changes with the seed: the"
            " intervals cover the choice of images only."
        )
    unequal = [
        plain(field)
        for field in differing_fields(candidates)
        if field not in ("model", "weights", "drop_path", "alpha")
    ]
    if unequal:
        found.append(
            "The candidates differ in more than the model:"
            f" {', '.join(unequal)}. The comparison is of the whole recipes."
        )
    return found
