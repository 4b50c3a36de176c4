"""The charts of the report, made from candidates."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from cifsel.comparison import charts, paired
from cifsel.comparison.candidates import Candidate
from cifsel.comparison.scores import candidate_cost, compare_coarse_labels, confusion
from cifsel.data.splits import Dataset
from cifsel.evaluation import scoring
from cifsel.reports import figures
from cifsel.reports.page import Chart


def make_charts(
    dataset: Dataset, candidates: Sequence[Candidate], pair: tuple[Candidate, Candidate]
) -> tuple[Chart, ...]:
    """Draws all charts of a report.

    Args:
      dataset: the images.
      candidates: all of them. The first has the first colour, and so on.
      pair: the chosen candidate and its rival, the first two of the candidates.
    """
    return (
        _accuracy_by_seed(candidates),
        _accuracy_against_cost(candidates),
        *_training_curves(candidates),
        _accuracy_by_coarse_label(dataset, pair),
        _accuracy_by_class(dataset, pair),
        _reliability(dataset, candidates),
        _confusion_matrix(dataset, pair[0], "confusion_matrix_1"),
        _confusion_matrix(dataset, pair[1], "confusion_matrix_2"),
    )


def _accuracy_by_seed(candidates: Sequence[Candidate]) -> Chart:
    accuracies = {c.name: paired.accuracy(c.right("test")) for c in candidates}
    figure = charts.accuracy_by_seed(accuracies)
    return Chart("accuracy_by_seed", "Test accuracy", figure)


def _accuracy_against_cost(candidates: Sequence[Candidate]) -> Chart:
    points = []
    for candidate in candidates:
        accuracy, cost = paired.accuracy(candidate.right("test")), candidate_cost(candidate)
        points.append(
            charts.CostPoint(
                candidate.name,
                cost.flops_per_image,
                cost.images_per_second,
                accuracy.mean,
                accuracy.low,
                accuracy.high,
            )
        )
    figure = charts.accuracy_against_cost(points)
    return Chart("accuracy_against_cost", "Accuracy against cost", figure)


def _training_curves(candidates: Sequence[Candidate]) -> tuple[Chart, ...]:
    """Makes the chart of training, or none if all candidates are probes."""
    histories = {
        candidate.name: [run.metrics.training.history for run in candidate.runs]
        for candidate in candidates
        if candidate.runs[0].metrics.training.history
    }
    if not histories:
        return ()
    return (Chart("training_curves", "Training", charts.training_curves(histories)),)


def _accuracy_by_coarse_label(dataset: Dataset, pair: tuple[Candidate, Candidate]) -> Chart:
    rows = compare_coarse_labels(*pair, dataset.coarse_of, dataset.coarse_names)
    figure = charts.accuracy_by_coarse_label(rows, pair[0].name, pair[1].name)
    return Chart("per_coarse", "By coarse label", figure)


def _accuracy_by_class(dataset: Dataset, pair: tuple[Candidate, Candidate]) -> Chart:
    accuracy_a, accuracy_b = (_class_accuracies(dataset, candidate) for candidate in pair)
    figure = charts.accuracy_by_class(
        dataset.class_names, accuracy_a, accuracy_b, pair[0].name, pair[1].name
    )
    return Chart("per_class", "Class by class", figure)


def _class_accuracies(dataset: Dataset, candidate: Candidate) -> Float[np.ndarray, " classes"]:
    """Averages the test accuracy of each class over the seeds. 0 for a class without images."""
    right, labels = candidate.right("test").mean(0), dataset.test.labels
    count = np.bincount(labels, minlength=len(dataset.class_names))
    return np.bincount(labels, weights=right, minlength=len(count)) / np.maximum(count, 1)


def _reliability(dataset: Dataset, candidates: Sequence[Candidate]) -> Chart:
    tables = {c.name: _pooled_calibration(c, dataset.test.labels) for c in candidates}
    figure = charts.reliability_diagram(tables)
    return Chart("reliability", "Can its confidence be believed?", figure)


def _pooled_calibration(
    candidate: Candidate, labels: Int[np.ndarray, " images"]
) -> scoring.Calibration:
    """Bins the predictions of all seeds. Averaging them first would change their confidence."""
    probabilities = np.concatenate([scoring.softmax(r.logits["test"]) for r in candidate.runs])
    return scoring.calibration(probabilities, np.tile(labels, len(candidate.runs)))


def _confusion_matrix(dataset: Dataset, candidate: Candidate, name: str) -> Chart:
    figure = figures.confusion_matrix(
        confusion(candidate, len(dataset.class_names)),
        dataset.class_names,
        dataset.coarse_names,
        dataset.coarse_of,
    )
    return Chart(name, f"Confusion matrix of {candidate.name}", figure, large=True)
