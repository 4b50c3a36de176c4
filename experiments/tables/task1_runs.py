"""The recorded runs of task 1, and means over their seeds."""

import dataclasses
import itertools
import json
from collections.abc import Iterable
from typing import Any

from cifsel.evaluation.scoring import wilson
from experiments import RESULTS

MODELS = {"efficientnetv2-b0": "EfficientNetV2-B0", "mobilenet": "MobileNet V1"}


RECIPES = {
    "finetune": "fine-tuned",
    "longer": "fine-tuned longer",
    "probe": "linear probe",
    "notebook": "notebook's recipe",
}


Key = tuple[str, str, int]  # model, recipe, pixels


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of task 1.

    Attributes:
      name: of its record, without the extension.
      key: model, recipe and pixels per side. Runs with one key differ by their seeds.
      seed: of initial values, order, augmentation and dropout.
      accuracy: on the test images, scored once.
      low: lower end of its 95 % Wilson interval over the test images.
      high: upper end.
      test_images: number of them.
      coarse: share of test images with the right coarse label.
      loss: cross-entropy on the test images.
      top5: top-5 accuracy on the test images.
      ece: expected calibration error on the test images.
      validation: accuracy on the validation images, on which choices were made.
      probe_validation: that of the probe that fine-tuning starts from, None without one.
      gflops: 1e9 operations per image, over all its views.
      minutes: from data to scores, start-up and reports not included.
      date: when it finished.
      commit: of the code.
      command: as given.
      weights: name of the file with ImageNet weights.
      jax: version.
    """

    name: str
    key: Key
    seed: int
    accuracy: float
    low: float
    high: float
    test_images: int
    coarse: float
    loss: float
    top5: float
    ece: float
    validation: float
    probe_validation: float | None
    gflops: float
    minutes: float
    date: str
    commit: str
    command: str
    weights: str
    jax: str

    @property
    def label(self) -> str:
        """Model, recipe and pixels in words."""
        model, recipe, pixels = self.key
        return f"{MODELS[model]}, {RECIPES[recipe]}, {pixels} px"


def from_metrics(name: str, metrics: dict[str, Any]) -> Run:
    """A run from its metrics.json."""
    test, cost, probe = metrics["test"], metrics["cost"], metrics["probe"]
    low, high = test["accuracy_interval"]
    return Run(
        name=name,
        key=(metrics["model"], metrics["recipe"], metrics["config"]["image_size"]),
        seed=metrics["config"]["seed"],
        accuracy=test["accuracy"],
        low=low,
        high=high,
        test_images=test["examples"],
        coarse=test["coarse_accuracy"],
        loss=test["loss"],
        top5=test["top5"],
        ece=test["ece"],
        validation=metrics["val"]["accuracy"],
        probe_validation=probe and probe["chosen"]["val_accuracy"],
        gflops=cost["flops_per_image"] * cost["passes_per_image"] / 1e9,
        minutes=sum(cost["seconds"].values()) / 60,
        date=metrics["finished"][:10],
        commit=metrics["git_commit"][:7],
        command=metrics["command"],
        weights=metrics["weights"]["file"],
        jax=metrics["versions"]["jax"],
    )


def runs() -> list[Run]:
    """All recorded runs, by model, recipe, pixels and seed."""

    def position(run: Run) -> tuple[int, int, int, int]:
        model, recipe, pixels = run.key
        return list(MODELS).index(model), list(RECIPES).index(recipe), pixels, run.seed

    paths = (RESULTS / "task1").glob("*.json")
    return sorted(
        (from_metrics(path.stem, json.loads(path.read_text())) for path in paths), key=position
    )


def by_key(every: Iterable[Run]) -> dict[Key, list[Run]]:
    """Runs that differ by their seeds, together."""
    return {key: list(same) for key, same in itertools.groupby(every, lambda run: run.key)}


def mean(values: Iterable[float]) -> float:
    """Arithmetic mean."""
    listed = list(values)
    return sum(listed) / len(listed)


def mean_interval(same: list[Run]) -> tuple[float, float, float]:
    """Mean test accuracy over seeds, and its 95 % Wilson interval over the images of one run."""
    accuracy, images = mean(run.accuracy for run in same), same[0].test_images
    return accuracy, *wilson(accuracy * images, images)


def seeds(same: list[Run]) -> str:
    """Seeds as '0, 1, 2'."""
    return ", ".join(str(run.seed) for run in same)
