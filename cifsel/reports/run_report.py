"""The report of a run of task 1: metrics.json, predictions, figures, summaries, the last table."""

from typing import Any

import numpy as np
from etils import epath
from matplotlib.figure import Figure

from cifsel import workdir
from cifsel.data.splits import Dataset
from cifsel.evaluation import scoring
from cifsel.evaluation.split_score import SplitScore
from cifsel.reports import figures, style
from cifsel.terminal import duration, say, show_table
from cifsel.training.probe import Solution
from cifsel.training.results import RunMetrics
from cifsel.workdir import summaries

# Images in the grid of predictions: enough to judge, few enough to look at.
SHOWN = 48


class RunReport:
    """Writes the results of one run to its workdir and its TensorBoard summaries.

    Args:
      run: the workdir.
      dataset: the images of the run.
      writer: of summaries.
    """

    def __init__(self, run: epath.Path, dataset: Dataset, writer: summaries.Writer) -> None:
        self._run, self._dataset, self._writer = run, dataset, writer

    def start(self, settings: dict[str, Any], variables: Any, samples: np.ndarray) -> None:
        """Writes what is known before training.

        Args:
          settings: the config, JSON-ready.
          variables: of the model.
          samples: (N, S, S, 3) uint8, augmented training images.
        """
        workdir.subfolder(self._run, "figures")
        self._writer.write_hparams(settings)
        overview = summaries.parameter_overview(variables["params"])
        self._writer.write_texts(0, {"parameters": summaries.code_block(overview)})
        self._figure(0, "training_samples", figures.image_grid(samples, title="Training images"))

    def finish(
        self, metrics: RunMetrics, logits: dict[str, np.ndarray], solution: Solution | None
    ) -> None:
        """Writes the results. metrics.json comes last, as it marks the run as finished.

        Args:
          metrics: all numbers of the run.
          logits: of 'val' and 'test', (N, K) float32.
          solution: of the probe. None without a probe.
        """
        # All summaries are counted by the gradient steps taken.
        step, test_logits = metrics.training.step, logits["test"]
        self._curves(step, metrics, solution)
        self._test_figures(step, metrics.test, test_logits)
        self._scalars(step, metrics)
        self._confidence(step, test_logits)
        self._writer.flush()
        self._predictions(logits)
        workdir.write_json(self._run / workdir.METRICS, metrics.to_json())
        show_results(self._run, metrics)

    def _figure(self, step: int, name: str, figure: Figure) -> None:
        pixels = style.save(figure, self._run / "figures" / f"{name}.png")
        self._writer.write_images(step, {name: pixels})

    def _curves(self, step: int, metrics: RunMetrics, solution: Solution | None) -> None:
        """Draws training curves, and the probe's loss by penalty."""
        if metrics.training.history:
            curves = figures.training_curves(metrics.training.history)
            self._figure(step, "training_curves", curves)
        if solution:
            trials = solution.trials
            l2_path = figures.l2_path(
                [trial.l2 for trial in trials],
                [trial.val_loss for trial in trials],
                [trial.val_accuracy for trial in trials],
                solution.chosen.l2,
            )
            self._figure(step, "probe_l2", l2_path)

    def _test_figures(self, step: int, test: SplitScore, logits: np.ndarray) -> None:
        """Draws the figures of the test images."""
        dataset, labels = self._dataset, self._dataset.test.labels
        counts = scoring.confusion(labels, logits.argmax(1), len(dataset.class_names))
        names = dataset.class_names, dataset.coarse_names, dataset.coarse_of
        self._figure(step, "confusion_matrix", figures.confusion_matrix(counts, *names))
        self._figure(step, "worst_classes", figures.worst_classes(test.per_class))
        probabilities = scoring.softmax(logits)
        table = scoring.calibration(probabilities, labels)
        self._figure(step, "reliability", figures.reliability(table))

        chosen = np.random.default_rng(0).permutation(len(labels))[:SHOWN]
        captions, verdicts = figures.prediction_captions(
            [dataset.class_names[i] for i in labels[chosen]],
            [dataset.class_names[i] for i in logits[chosen].argmax(1)],
            probabilities[chosen].max(1),
        )
        grid = figures.image_grid(
            dataset.test.images[chosen], captions, verdicts, title="Test images, drawn at random"
        )
        self._figure(step, "test_predictions", grid)

    def _scalars(self, step: int, metrics: RunMetrics) -> None:
        """Writes the scores of both splits as summaries."""
        scalars = {
            f"final_{split}/{name}": getattr(score, name)
            for split, score in (("val", metrics.val), ("test", metrics.test))
            for name in ("accuracy", "top5", "loss", "macro_f1", "ece")
        }
        self._writer.write_scalars(step, scalars)

    def _confidence(self, step: int, logits: np.ndarray) -> None:
        """Writes histograms of the confidence on the test images as summaries."""
        confidence = scoring.softmax(logits).max(1)
        right = logits.argmax(1) == self._dataset.test.labels
        histograms = {
            "final_test/confidence_when_right": confidence[right],
            "final_test/confidence_when_wrong": confidence[~right],
        }
        self._writer.write_histograms(
            step, {name: values for name, values in histograms.items() if len(values)}
        )

    def _predictions(self, logits: dict[str, np.ndarray]) -> None:
        """Writes predictions.npz: logits, labels and ids of the validation and test images."""
        arrays = {"class_names": np.asarray(self._dataset.class_names)}
        for name, split in (("val", self._dataset.val), ("test", self._dataset.test)):
            arrays[f"{name}_logits"] = logits[name]
            arrays[f"{name}_labels"], arrays[f"{name}_ids"] = split.labels, split.ids
        workdir.write_npz(self._run / workdir.PREDICTIONS, arrays)


def show_results(run: epath.Path, metrics: RunMetrics) -> None:
    """Prints the table at the end of a run, and of one that has finished before."""
    test = metrics.test
    show_table(
        f"{metrics.name} {metrics.recipe}: {metrics.model} on {metrics.dataset}",
        {
            "test accuracy": _accuracy(test),
            "validation": _accuracy(metrics.val),
            "test top-5": f"{test.top5:.2%}",
            "test loss": f"{test.loss:.4f} nats",
            "macro F1": f"{test.macro_f1:.4f}",
            "calibration error": f"{test.ece:.4f}",
            "parameters": f"{metrics.cost.parameters:,}",
            "time": duration(sum(metrics.cost.seconds.values())),
            "metrics": str(run / workdir.METRICS),
            "figures": str(run / "figures"),
            "checkpoint": str(run / "checkpoints"),
            "summaries": f"tensorboard --logdir={run}",
        },
    )
    if metrics.dataset == "drawn":
        say(
            "These images are drawn by this program: the figures say that it works, not how"
            " good it is. For real ones: python -m cifsel.main --config=configs/effnet.py"
        )


def _accuracy(score: SplitScore) -> str:
    low, high = score.accuracy_interval
    return (
        f"{score.accuracy:.2%}  (95 % interval {low:.1%} to {high:.1%}, {score.examples:,} images)"
    )
