"""Tables of task 1: the accuracy of every run, means over seeds, and the goals."""

import itertools
from collections.abc import Callable

from experiments.tables.markdown import interval, percent, table
from experiments.tables.records import machine_lines
from experiments.tables.task1_runs import Run, by_key, mean, mean_interval, runs, seeds

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
    ("efficientnetv2-b0", "longer", 192): 0.86,
}


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
                percent(_validation(same)),
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
    """The README's table: each model and recipe at the size of best validation accuracy."""
    rows = []
    for _, sizes in itertools.groupby(by_key(runs()).values(), lambda same: same[0].key[:2]):
        same = max(sizes, key=_validation)
        accuracy, low, high = mean_interval(same)
        record = link(f"experiments/results/task1/{same[0].name}.json")
        rows.append(
            (same[0].label, percent(accuracy), interval(low, high), f"[{seeds(same)}]({record})")
        )
    return table(("model", "test accuracy", "95 % interval", "seeds"), rows)


def _validation(same: list[Run]) -> float:
    return mean(run.validation for run in same)


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
