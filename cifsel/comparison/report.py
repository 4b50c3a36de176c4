"""What the report of a comparison says, before it becomes HTML, Markdown or summaries."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from cifsel.comparison import charts, duplicates, paired, tables, verdict
from cifsel.comparison import label_errors as suspects
from cifsel.comparison.examples import Examples, confusion
from cifsel.comparison.runs import Candidate
from cifsel.comparison.verdict import Verdict
from cifsel.data.splits import Dataset
from cifsel.evaluation import scoring
from cifsel.reports import figures
from cifsel.reports.page import Chart, Gallery, Page, Table

TITLE = "Which network transfers better?"
NOTES = {
    "intervals": (
        "Intervals are 95 %: Wilson's over the images for a single seed, else a t-interval over"
        " images and seeds together. All choices, which candidate to use included, were made on"
        " validation images; the test images were scored once per run."
    ),
    "pairs": (
        "Accuracy of the chosen candidate minus that of the other, on the same images. With one"
        " seed each, p is McNemar's exact test; else a t-test in which the spread between seeds is"
        " added to that between images. p is not corrected for the number of rows."
    ),
    "fairness": "Fields of the configuration in which the candidates differ; all others are equal.",
}


@dataclasses.dataclass(frozen=True)
class Content:
    """A whole report.

    Attributes:
      sentence: the verdict.
      on_test: what the test images say of it.
      scores: one column per candidate.
      pairs: the chosen candidate against the others.
      fairness: in what the configurations differ.
      charts: in the order they are shown.
      galleries: the same.
      commands: that made the runs.
      versions: of each run.
      warnings: what to know before believing it.
    """

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
            scoring.softmax(run.logits["test"])
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
        scores=tables.scores(ordered, findings.apart(len(dataset.test))),
        pairs=tables.pairs(candidates, decided),
        fairness=tables.fairness(ordered),
        charts=tuple(_charts(dataset, ordered, pair)),
        galleries=galleries,
        commands=tuple(run.metrics["command"] for run in runs),
        versions=tables.versions(ordered),
        warnings=tuple(tables.warnings(candidates)),
    )


def page(content: Content, command: str) -> Page:
    """The report as a page.

    Args:
      content: what it says.
      command: the one that made it.
    """
    said = {"title": TITLE, "content": content, "notes": NOTES, "command": command}
    return Page("comparison", content.charts, content.galleries, said)


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
    probabilities = np.concatenate([scoring.softmax(r.logits["test"]) for r in candidate.runs])
    return scoring.calibration(probabilities, np.tile(labels, len(candidate.runs)))


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
