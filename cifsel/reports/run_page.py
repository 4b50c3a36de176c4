"""The page of a single run of task 1."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cifsel.data.splits import Dataset
from cifsel.evaluation import scoring
from cifsel.evaluation.split_score import SplitScore
from cifsel.reports import figures, looks, matrix, run_tables
from cifsel.reports.layout import Item
from cifsel.reports.page import DRAWN, Chart, Gallery, Page, Tile
from cifsel.reports.style import display_name, percent
from cifsel.training.results import RunMetrics
from cifsel.training.samples import Samples

# Images in the grid of predictions: enough to judge, few enough to look at.
SHOWN = 48
INTERVALS = (
    "Intervals are Wilson's 95 % intervals over the images. All choices were made on validation"
    " images. The test images were scored once, at the end."
)


ABOUT_SETS = (
    "A set has all classes whose probability reaches a threshold. The threshold was found on the"
    " validation images so that the set of a new image like them holds its class as often as asked"
    " for (split conformal prediction). With --coverage=0.9, predict answers with such sets."
)


def make_page(
    metrics: RunMetrics, dataset: Dataset, test_logits: np.ndarray, samples: Samples
) -> Page:
    """Makes the page of a run.

    Args:
      metrics: all numbers of the run.
      dataset: its images.
      test_logits: (N, K).
      samples: training images, as the model sees them.
    """
    drawn = metrics.dataset == "drawn"
    name = looks.model_name(metrics.model)
    context = {
        "title": f"{name} on {metrics.dataset}, {metrics.recipe}"
        + (" (drawn images)" if drawn else ""),
        "verdict": _verdict(name, metrics.test),
        "fitted": _fitted(metrics),
        "warnings": warnings(metrics),
        "scores": run_tables.score_table(metrics),
        "intervals": INTERVALS,
        "sets": run_tables.set_table(metrics.sets),
        "sets_by_coarse": [
            run_tables.coarse_set_table(score)
            for score in metrics.sets
            if score.per_coarse and score.wanted == run_tables.SHOWN_COVERAGE
        ],
        "about_sets": ABOUT_SETS,
        "cost": run_tables.cost_table(metrics),
        "settings": run_tables.settings_table(metrics.config),
        "command": metrics.provenance.command,
        "versions": run_tables.version_table(metrics),
    }
    charts = _charts(metrics, dataset, test_logits)
    galleries = (_predictions(dataset, test_logits), _training_images(samples, dataset, metrics))
    return Page("run", charts, galleries, context, DRAWN if drawn else "")


def warnings(metrics: RunMetrics) -> list[str]:
    """Lists what a reader of the numbers must know first."""
    training = metrics.training
    if training.start is None or training.best is not None or not training.history:
        return []
    best = max(epoch.val_accuracy for epoch in training.history)
    return [
        "No epoch of fine-tuning was better than the probe that it started from, so the probe is"
        f" kept. The best epoch has {percent(best, 1)} of the validation images right, the probe"
        f" {percent(training.start.val_accuracy, 1)}. A lower learning rate may do better."
    ]


def _verdict(name: str, test: SplitScore) -> str:
    low, high = test.accuracy_interval
    return (
        f"{name} recognises {percent(test.accuracy, 1)} of the {test.examples:,} test images."
        f" The 95 % interval is {100 * low:.1f} to {percent(high, 1)}."
    )


def _fitted(metrics: RunMetrics) -> str:
    start = "published weights" if metrics.weights else "random weights"
    examples = f"{metrics.examples['train']:,} training images"
    if not metrics.training.history:
        return f"A probe on {examples}: a linear classifier on features, from {start}."
    epochs = metrics.training.history[-1].epoch
    best = metrics.training.best
    kept = f"Epoch {best.epoch} was best on validation images and" if best else "The probe"
    begun = ", begun with the head of a probe" if metrics.probe else ""
    passes = "1 epoch" if epochs == 1 else f"{epochs} epochs"
    return f"Trained for {passes} on {examples}, from {start}{begun}. {kept} is kept."


def _charts(metrics: RunMetrics, dataset: Dataset, logits: np.ndarray) -> tuple[Chart, ...]:
    item = Item(looks.model_name(metrics.model), looks.places([metrics.model])[0])
    labels, names = dataset.test.labels, dataset.labelling
    counts = scoring.confusion(labels, logits.argmax(1), len(dataset.class_names))
    charts = []
    if metrics.training.history:
        curves = figures.training_curves({item: [figures.Curve.of(metrics)]})
        charts.append(Chart("training_curves", "Training", curves))
    worst = figures.worst_classes(metrics.test.per_class, item)
    charts.append(Chart("worst_classes", "Classes of lowest accuracy", worst))
    if metrics.probe:
        charts.append(Chart("probe_l2", "The penalty of the probe", _l2_path(metrics.probe, item)))
    table = scoring.calibration(scoring.softmax(logits), labels)
    reliability = figures.reliability({item: table})
    charts += [
        Chart("reliability", "Can its confidence be believed?", reliability, figures.RELIABILITY),
        Chart(
            "confusion_matrix",
            "Confusion matrix",
            figures.confusion_matrix(counts, *names),
            "Percent of the test images of a class (row) that are taken for each class (column).",
            matrix.confusion(counts, *names),
        ),
    ]
    return tuple(charts)


def _l2_path(probe: dict[str, Any], item: Item) -> Figure:
    trials = probe["trials"]
    return figures.l2_path(
        [trial["l2"] for trial in trials],
        [trial["val_loss"] for trial in trials],
        [trial["val_accuracy"] for trial in trials],
        probe["chosen"]["l2"],
        item,
    )


def _predictions(dataset: Dataset, logits: np.ndarray) -> Gallery:
    labels, probabilities = dataset.test.labels, scoring.softmax(logits)
    chosen = np.random.default_rng(0).permutation(len(labels))[:SHOWN]
    names = [display_name(name) for name in dataset.class_names]
    tiles = []
    for index in chosen:
        predicted, right = int(logits[index].argmax()), logits[index].argmax() == labels[index]
        share = percent(probabilities[index].max())
        answer = f"✓ {share}" if right else f"✗ {names[predicted]} {share}"
        tiles.append(
            Tile(
                (dataset.test.images[index],),
                names[labels[index]],
                (answer,),
                "right" if right else "wrong",
            )
        )
    return Gallery(
        "test_predictions",
        "Some test images",
        f"{len(chosen)} test images drawn at random: the label, and below it the answer with its"
        " probability.",
        tuple(tiles),
    )


def _training_images(samples: Samples, dataset: Dataset, metrics: RunMetrics) -> Gallery:
    how = (
        "as augmentation shows them to the network in its first epoch"
        if metrics.training.history
        else "as the probe sees them, without augmentation"
    )
    captions = sample_captions(samples, dataset)
    return Gallery(
        "training_samples",
        "Training images",
        f"{len(captions)} training images, {how}.",
        tuple(
            Tile((image,), caption) for image, caption in zip(samples.images, captions, strict=True)
        ),
        folded=True,
    )


def sample_captions(samples: Samples, dataset: Dataset) -> list[str]:
    """Names the label of each training image, or both labels of a mixed one with their shares."""
    names = [display_name(name) for name in dataset.class_names]
    captions = []
    for targets in samples.targets:
        order = np.argsort(-targets, kind="stable")
        if targets[order[0]] > 0.995:
            captions.append(names[order[0]])
        else:
            pair = [f"{names[index]} {percent(float(targets[index]))}" for index in order[:2]]
            captions.append(" + ".join(pair))
    return captions
