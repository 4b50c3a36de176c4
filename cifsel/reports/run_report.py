"""What a run leaves behind: summaries, figures, metrics.json, predictions.npz, and a last word."""

import dataclasses
from typing import Any

import numpy as np
from etils import epath
from matplotlib.figure import Figure

from cifsel import workdir
from cifsel.data.splits import Dataset
from cifsel.evaluation import scoring
from cifsel.reports import figures, style
from cifsel.terminal import duration, say, show_table
from cifsel.training import probe
from cifsel.training.loop import Progress
from cifsel.workdir import provenance, summaries

# Shown in the grid of predictions: enough to judge, few enough to look at.
SHOWN = 48


@dataclasses.dataclass(frozen=True)
class Results:
    """What a run found out.

    Attributes:
      logits: of 'val' and 'test', (N, K) float32.
      progress: of gradient descent, empty for a probe.
      solution: of the probe, None without one.
      cost: JSON-ready; see metrics.json.
      weights: JSON-ready; the file that the backbone came from.
    """

    logits: dict[str, np.ndarray]
    progress: Progress
    solution: probe.Solution | None
    cost: dict[str, Any]
    weights: dict[str, Any] | None

    @property
    def step(self) -> int:
        """Gradient steps taken, by which all summaries are counted."""
        history = self.progress.history
        return int(history[-1]["step"]) if history else 0


class Report:
    """Writes the results of one run to its folder and its summaries."""

    def __init__(self, run: epath.Path, dataset: Dataset, writer: summaries.Writer) -> None:
        self._run, self._dataset, self._writer = run, dataset, writer

    def start(self, settings: dict[str, Any], variables: Any, samples: np.ndarray) -> None:
        """Writes what is known beforehand.

        Args:
          settings: the config.
          variables: of the model.
          samples: (N, S, S, 3) uint8, training images as augmentation leaves them.
        """
        (self._run / "figures").mkdir(parents=True, exist_ok=True)
        self._writer.write_hparams(settings)
        overview = summaries.parameter_overview(variables["params"])
        self._writer.write_texts(0, {"parameters": summaries.code_block(overview)})
        self._figure(0, "training_samples", figures.image_grid(samples, title="Training images"))

    def finish(self, settings: dict[str, Any], results: Results) -> dict[str, Any]:
        """Scores the predictions and writes everything; metrics.json last, as it ends the run."""
        dataset = self._dataset
        scores = {
            name: scoring.score(
                results.logits[name],
                split.labels,
                dataset.class_names,
                dataset.coarse_names,
                dataset.coarse_of,
            )
            for name, split in (("val", dataset.val), ("test", dataset.test))
        }
        metrics = {
            "name": settings["name"],
            "recipe": settings["recipe"],
            "model": settings["model"],
            "dataset": settings["dataset"],
            "examples": {name: len(getattr(dataset, name)) for name in ("train", "val", "test")},
            "fingerprint": dataset.fingerprint,
            "config": settings,
            **scores,
            "training": dataclasses.asdict(results.progress),
            "probe": _probe_summary(results.solution),
            "cost": results.cost,
            "weights": results.weights,
            **provenance.environment().to_json(),
        }
        self._figures(metrics, results)
        self._scalars(scores, results)
        self._writer.flush()
        self._predictions(results)
        workdir.write_json(self._run / workdir.METRICS, metrics)
        self._last_word(metrics)
        return metrics

    def _figures(self, metrics: dict[str, Any], results: Results) -> None:
        dataset, step = self._dataset, results.step
        if results.progress.history:
            curves = figures.training_curves(results.progress.history)
            self._figure(step, "training_curves", curves)
        if results.solution:
            trials = results.solution.trials
            path = figures.l2_path(
                [t.l2 for t in trials],
                [t.val_loss for t in trials],
                [t.val_accuracy for t in trials],
                results.solution.chosen.l2,
            )
            self._figure(step, "probe_l2", path)
        logits, labels = results.logits["test"], dataset.test.labels
        counts = scoring.confusion(labels, logits.argmax(1), len(dataset.class_names))
        names = dataset.class_names, dataset.coarse_names, dataset.coarse_of
        self._figure(step, "confusion_matrix", figures.confusion_matrix(counts, *names))
        self._figure(step, "worst_classes", figures.worst_classes(metrics["test"]["per_class"]))
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

    def _figure(self, step: int, name: str, figure: Figure) -> None:
        pixels = style.save(figure, self._run / "figures" / f"{name}.png")
        self._writer.write_images(step, {name: pixels})

    def _scalars(self, scores: dict[str, Any], results: Results) -> None:
        shown = {
            f"final_{split}/{name}": score[name]
            for split, score in scores.items()
            for name in ("accuracy", "top5", "loss", "macro_f1", "ece")
        }
        self._writer.write_scalars(results.step, shown)
        logits = results.logits["test"]
        sure = scoring.softmax(logits).max(1)
        right = logits.argmax(1) == self._dataset.test.labels
        distributions = {"final_test/confidence_when_right": sure[right]}
        distributions["final_test/confidence_when_wrong"] = sure[~right]
        self._writer.write_histograms(
            results.step, {name: values for name, values in distributions.items() if len(values)}
        )

    def _predictions(self, results: Results) -> None:
        arrays = {"class_names": np.asarray(self._dataset.class_names)}
        for name, split in (("val", self._dataset.val), ("test", self._dataset.test)):
            arrays[f"{name}_logits"] = results.logits[name]
            arrays[f"{name}_labels"], arrays[f"{name}_ids"] = split.labels, split.ids
        workdir.write_npz(self._run / workdir.PREDICTIONS, arrays)

    def _last_word(self, metrics: dict[str, Any]) -> None:
        def percent(score: dict[str, Any]) -> str:
            low, high = score["accuracy_interval"]
            return (
                f"{score['accuracy']:.2%}  (95 % interval {low:.1%} to {high:.1%},"
                f" {score['examples']:,} images)"
            )

        test = metrics["test"]
        show_table(
            f"{metrics['name']} {metrics['recipe']}: {metrics['model']} on {metrics['dataset']}",
            {
                "test accuracy": percent(test),
                "validation": percent(metrics["val"]),
                "test top-5": f"{test['top5']:.2%}",
                "test loss": f"{test['loss']:.4f} nats",
                "macro F1": f"{test['macro_f1']:.4f}",
                "calibration error": f"{test['ece']:.4f}",
                "parameters": f"{metrics['cost']['parameters']:,}",
                "time": duration(sum(metrics["cost"]["seconds"].values())),
                "metrics": str(self._run / workdir.METRICS),
                "figures": str(self._run / "figures"),
                "checkpoint": str(self._run / "checkpoints"),
                "summaries": f"tensorboard --logdir={self._run}",
            },
        )
        if metrics["dataset"] == "drawn":
            say(
                "These images are drawn by this program: the figures say that it works, not how"
                " good it is. For real ones: python -m cifsel.main --config=configs/effnet.py"
            )


def _probe_summary(solution: probe.Solution | None) -> dict[str, Any] | None:
    if solution is None:
        return None
    return {
        "l2": solution.chosen.l2,
        "chosen": dataclasses.asdict(solution.chosen),
        "trials": [dataclasses.asdict(trial) for trial in solution.trials],
    }
