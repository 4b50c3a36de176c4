"""Tables of task 1: the accuracy of every run, means over seeds, and the goals."""

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterable
from typing import Any

from cifsel.evaluation.scoring import wilson
from experiments import RESULTS
from experiments.tables.markdown import interval, percent, table
from experiments.tables.records import machine_lines

MODELS = {"efficientnetv2-b0": "EfficientNetV2-B0", "mobilenet": "MobileNet V1"}
RECIPES = {"finetune": "fine-tuned", "probe": "linear probe", "notebook": "notebook's recipe"}
# Test accuracies that the reference notebook reported, of one seed.
REPORTED = {
    ("efficientnetv2-b0", "notebook", 96): 0.610,
    ("mobilenet", "notebook", 128): 0.550,
}
# Test accuracies that the project set out to reach: model, recipe, pixels -> share.
GOALS = {
    ("efficientnetv2-b0", "finetune", 128): 0.82,
    ("mobilenet", "finetune", 128): 0.76,
    ("efficientnetv2-b0", "probe", 128): 0.72,
    ("efficientnetv2-b0", "probe", 224): 0.74,
    ("mobilenet", "probe", 128): 0.655,
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


def summary(link: Callable[[str], str]) -> str:
    """One row per model, recipe and size: mean over seeds, interval, spread, cost, record."""
    rows = []
    for same in by_key(runs()).values():
        accuracy, low, high = mean_interval(same)
        by_seed = [run.accuracy for run in same]
        minutes = sorted({f"{run.minutes:.0f}" for run in same}, key=int)
        first = same[0]
        rows.append(
            (
                first.label,
                percent(accuracy),
                interval(low, high),
                interval(min(by_seed), max(by_seed)) if len(same) > 1 else "",
                seeds(same),
                percent(mean(run.validation for run in same)),
                percent(mean(run.coarse for run in same)),
                f"{first.gflops:.2f}",
                minutes[0] if len(minutes) == 1 else f"{minutes[0]} to {minutes[-1]}",
                first.date,
                f"[record]({link(f'experiments/results/task1/{first.name}.json')})",
            )
        )
    header = (
        "model",
        "test accuracy, mean",
        "95 % interval",
        "lowest to highest seed",
        "seeds",
        "validation",
        "coarse label",
        "GFLOPs per image",
        "minutes",
        "date",
        "seed 0",
    )
    return table(header, rows)


def accuracies(link: Callable[[str], str]) -> str:
    """The columns of `summary` that the README shows."""
    rows = []
    for same in by_key(runs()).values():
        accuracy, low, high = mean_interval(same)
        record = link(f"experiments/results/task1/{same[0].name}.json")
        rows.append(
            (same[0].label, percent(accuracy), interval(low, high), f"[{seeds(same)}]({record})")
        )
    return table(("model", "test accuracy", "95 % interval", "seeds"), rows)


def every_run() -> str:
    """One row per run."""
    rows = (
        (
            f"[{run.name}](task1/{run.name}.json)",
            str(run.seed),
            percent(run.accuracy, 2),
            interval(run.low, run.high),
            percent(run.validation, 2),
            f"{run.loss:.3f}",
            percent(run.top5),
            f"{run.ece:.3f}",
            f"{run.minutes:.0f}",
            run.date,
            run.commit,
            f"`{run.command}`",
        )
        for run in runs()
    )
    header = (
        "record",
        "seed",
        "test",
        "95 % interval",
        "validation",
        "test loss",
        "top-5",
        "ECE",
        "minutes",
        "date",
        "commit",
        "command",
    )
    return table(header, rows)


def goals() -> str:
    """Accuracies that the project set out to reach, and the ones that it has."""
    grouped = by_key(runs())
    rows = []
    for key, goal in GOALS.items():
        accuracy, low, high = mean_interval(grouped[key])
        reached = "yes" if accuracy >= goal else "no"
        measured = f"{percent(accuracy)} ({interval(low, high)})"
        rows.append((f"{grouped[key][0].label}: at least {percent(goal)}", measured, reached))
    for key, reported in REPORTED.items():
        same = grouped[key]
        accuracy, low, high = mean_interval(same)
        reached = "yes" if abs(accuracy - reported) <= 0.03 else "no"
        measured = f"{percent(accuracy)} ({interval(low, high)})"
        rows.append((f"{same[0].label}: {percent(reported)} within 3 points", measured, reached))
    (short,) = grouped["efficientnetv2-b0", "finetune", 96]
    assert short.probe_validation is not None
    rows.append(
        (
            f"{short.label}, one epoch: better than its probe on validation",
            f"{percent(short.probe_validation)} to {percent(short.validation)}",
            "yes" if short.validation > short.probe_validation else "no",
        )
    )
    return table(("goal", "measured", "reached"), rows)


def page() -> str:
    """results/task1.md."""
    every = runs()
    weights = " and ".join(f"`{name}`" for name in sorted({run.weights for run in every}))
    versions = " and ".join(sorted({run.jax for run in every}))
    return f"""# Task 1

Task 1 classifies the animals and people of CIFAR-100 into 50 classes. Choices are made on
validation images. Test images are scored once per run. A run has 22,500 training, 2,500 validation
and 5,000 test images. The notebook's recipe has 8,000, 2,000 and 2,000, drawn anew for each seed.

The data are `cifar100:3.0.2` of tensorflow-datasets. The weights are {weights} of
keras.applications. JAX was {versions}.

![Test accuracy of each run with its interval](task1/accuracy.png)

## Means over seeds

The interval is a 95 % Wilson interval of the mean over the test images of one run. It says how far
the accuracy on other images of this kind may lie. The spread over seeds stands beside it. Minutes
are of one run. The fine-tuned run at 96 px is of one epoch at an earlier learning rate, 2e-4.

{summary(lambda path: path.removeprefix("experiments/results/"))}

## Goals

{goals()}

## Every run

Each record is the `metrics.json` of the run. It has figures per class, versions and the hash of the
weights. ECE is the expected calibration error.

{every_run()}

## Hardware

The records name the platform and not the processor. These notes were made by hand:

{machine_lines("task1")}

The times of 2026-11-22 are upper bounds, since other jobs ran beside them.
"""
