"""The report of a run of task 1: metrics.json, predictions, page, summaries, last table."""

import csv
import io
from typing import Any

import numpy as np
from etils import epath

from cifsel import workdir
from cifsel.data.folders import split_rows
from cifsel.data.splits import Dataset
from cifsel.evaluation.split_score import SplitScore
from cifsel.reports import figures, run_page, style
from cifsel.reports.page import DRAWN
from cifsel.runtime.bars import show_table
from cifsel.runtime.terminal import count, duration, say
from cifsel.training.results import RunMetrics
from cifsel.training.samples import Samples
from cifsel.workdir import summaries


class RunReport:
    """Writes the results of one run to its workdir and its TensorBoard summaries.

    Args:
      run: the workdir.
      dataset: the images of the run.
      writer: of summaries.
      samples: training images, as the model sees them.
    """

    def __init__(
        self, run: epath.Path, dataset: Dataset, writer: summaries.Writer, samples: Samples
    ) -> None:
        self._run, self._dataset, self._writer, self._samples = run, dataset, writer, samples

    def start(self, settings: dict[str, Any], variables: Any) -> None:
        """Writes what is known before training.

        Args:
          settings: the config, JSON-ready.
          variables: of the model.
        """
        workdir.subfolder(self._run, "figures")
        if self._dataset.names:
            rows = io.StringIO(newline="")
            csv.writer(rows).writerows(split_rows(self._dataset))
            workdir.write_bytes(self._run / workdir.SPLIT, rows.getvalue().encode())
        self._writer.write_hparams(settings)
        overview = summaries.parameter_overview(variables["params"])
        self._writer.write_texts(0, {"parameters": summaries.code_block(overview)})
        self._draw_samples(DRAWN if settings["dataset"] == "drawn" else "")

    def _draw_samples(self, note: str) -> None:
        """Shows training images before training, so that a mistake in them is seen early."""
        captions = run_page.sample_captions(self._samples, self._dataset)
        grid = figures.image_grid(self._samples.images, captions, title="Training images")
        path = self._run / "figures" / "training_samples.png"
        self._writer.write_images(0, {"figures/training_samples": style.save(grid, path, note)})

    def finish(self, metrics: RunMetrics, logits: dict[str, np.ndarray]) -> None:
        """Writes the results. metrics.json comes last, as it marks the run as finished.

        Args:
          metrics: all numbers of the run.
          logits: of 'val' and 'test', (N, K) float32.
        """
        self._draw_page(metrics, logits["test"])
        self._predictions(logits)
        workdir.write_json(self._run / workdir.METRICS, metrics.to_json())
        show_results(self._run, metrics)

    def _draw_page(self, metrics: RunMetrics, test_logits: np.ndarray) -> None:
        page = run_page.make_page(metrics, self._dataset, test_logits, self._samples)
        # All summaries are counted by the gradient steps taken.
        page.write(self._run, self._writer, metrics.training.step)

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
            **_unequal(test),
            **({"test top-5": f"{test.top5:.2%}"} if test.has_top5 else {}),
            "test loss": f"{test.loss:.4f} nats",
            "macro F1": f"{test.macro_f1:.4f}",
            "calibration error": f"{test.ece:.4f}",
            "parameters": f"{metrics.cost.parameters:,}",
            "time": duration(sum(metrics.cost.seconds.values())),
            "report": str(run / "report.html"),
            "metrics": str(run / workdir.METRICS),
            "checkpoint": str(run / "checkpoints"),
            "summaries": f"tensorboard --logdir={run}",
        },
    )
    for warning in run_page.warnings(metrics):
        say(warning)
    if metrics.dataset == "drawn":
        say(
            "These images are drawn by this program: the figures say that it works, not how"
            " good it is. For real ones: python -m cifsel.main --config=configs/effnet.py"
        )


def _unequal(score: SplitScore) -> dict[str, str]:
    """The rows of the table that classes of unequal size need."""
    if len({of_class.examples for of_class in score.per_class.values()}) == 1:
        return {}
    return {
        "balanced accuracy": f"{score.balanced_accuracy:.2%}",
        "most frequent class": f"{score.majority:.2%}  (accuracy of always naming it)",
    }


def _accuracy(score: SplitScore) -> str:
    low, high = score.accuracy_interval
    images = count(score.examples, "image")
    return f"{score.accuracy:.2%}  (95 % interval {low:.1%} to {high:.1%}, {images})"
