"""The charts of the report, made from candidates."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from cifsel.comparison import charts, paired
from cifsel.comparison.candidates import Candidate
from cifsel.comparison.scores import candidate_cost, compare_coarse_labels, confusion
from cifsel.data.splits import Dataset
from cifsel.evaluation import scoring
from cifsel.reports import figures, matrix
from cifsel.reports.layout import Item
from cifsel.reports.page import Chart

Pair = tuple[Candidate, Candidate]
Items = Mapping[str, Item]


def make_charts(
    dataset: Dataset, candidates: Sequence[Candidate], items: Items, pair: Pair
) -> tuple[Chart, ...]:
    """Draws all charts of a report.

    Args:
      dataset: the images.
      candidates: all of them, in the order in which they are shown.
      items: the colour of each candidate, by its name.
      pair: the chosen candidate and its rival.
    """
    looks = items[pair[0].name], items[pair[1].name]
    return (
        _accuracy_by_seed(candidates, items),
        _accuracy_against_cost(candidates, items),
        *_training_curves(candidates, items),
        *_accuracy_by_coarse_label(dataset, pair, looks),
        _accuracy_by_class(dataset, pair, looks),
        _reliability(dataset, candidates, items),
        _confusion_matrix(dataset, pair[0], "confusion_matrix_1"),
        _confusion_matrix(dataset, pair[1], "confusion_matrix_2"),
    )


def _accuracy_by_seed(candidates: Sequence[Candidate], items: Items) -> Chart:
    accuracies = {items[c.name]: paired.accuracy(c.right("test")) for c in candidates}
    figure = charts.accuracy_by_seed(accuracies)
    return Chart("accuracy_by_seed", "How often they are right", figure)


def _accuracy_against_cost(candidates: Sequence[Candidate], items: Items) -> Chart:
    points = []
    for candidate in candidates:
        accuracy, cost = paired.accuracy(candidate.right("test")), candidate_cost(candidate)
        points.append(
            charts.CostPoint(
                items[candidate.name],
                cost.flops_per_image,
                cost.images_per_second,
                accuracy.mean,
                accuracy.low,
                accuracy.high,
            )
        )
    figure = charts.accuracy_against_cost(points)
    return Chart("accuracy_against_cost", "Accuracy against cost", figure)


def _training_curves(candidates: Sequence[Candidate], items: Items) -> tuple[Chart, ...]:
    """Makes the chart of training, or none if all candidates are probes."""
    curves = {
        items[candidate.name]: [figures.Curve.of(run.metrics) for run in candidate.runs]
        for candidate in candidates
        if candidate.runs[0].metrics.training.history
    }
    if not curves:
        return ()
    return (Chart("training_curves", "Training", figures.training_curves(curves)),)


def _accuracy_by_coarse_label(
    dataset: Dataset, pair: Pair, looks: tuple[Item, Item]
) -> tuple[Chart, ...]:
    """Makes the chart of the coarse labels, or none if there are none."""
    if not dataset.coarse_names:
        return ()
    rows = compare_coarse_labels(*pair, dataset.coarse_of, dataset.coarse_names)
    figure = charts.accuracy_by_coarse_label(rows, looks)
    return (Chart("per_coarse", "By coarse label", figure),)


def _accuracy_by_class(dataset: Dataset, pair: Pair, looks: tuple[Item, Item]) -> Chart:
    accuracy_a, accuracy_b = (_class_accuracies(dataset, candidate) for candidate in pair)
    figure = charts.accuracy_by_class(dataset.class_names, accuracy_a, accuracy_b, looks)
    return Chart("per_class", "Class by class", figure)


def _class_accuracies(dataset: Dataset, candidate: Candidate) -> Float[np.ndarray, " classes"]:
    """Averages the test accuracy of each class over the seeds. 0 for a class without images."""
    right, labels = candidate.right("test").mean(0), dataset.test.labels
    count = np.bincount(labels, minlength=len(dataset.class_names))
    return np.bincount(labels, weights=right, minlength=len(count)) / np.maximum(count, 1)


def _reliability(dataset: Dataset, candidates: Sequence[Candidate], items: Items) -> Chart:
    tables = {items[c.name]: _pooled_calibration(c, dataset.test.labels) for c in candidates}
    return Chart(
        "reliability",
        "Can its confidence be believed?",
        figures.reliability(tables),
        figures.RELIABILITY,
    )


def _pooled_calibration(
    candidate: Candidate, labels: Int[np.ndarray, " images"]
) -> scoring.Calibration:
    """Bins the predictions of all seeds. Averaging them first would change their confidence."""
    probabilities = np.concatenate([scoring.softmax(r.logits["test"]) for r in candidate.runs])
    return scoring.calibration(probabilities, np.tile(labels, len(candidate.runs)))


def _confusion_matrix(dataset: Dataset, candidate: Candidate, name: str) -> Chart:
    counts = confusion(candidate, len(dataset.class_names))
    names = dataset.labelling
    return Chart(
        name,
        f"Confusion matrix of {candidate.name}",
        figures.confusion_matrix(counts, *names),
        "Percent of the test images of a class (row) that are taken for each class (column)."
        + (" All seeds together." if len(candidate.runs) > 1 else ""),
        matrix.confusion(counts, *names, unit="answers" if len(candidate.runs) > 1 else "images"),
    )
