"""Measures seconds and memory for more images, pixels, images per step, or classes.

    python -m experiments.bench.scaling --json=FILE.json                    # measure
    python -m experiments.bench.scaling --json=FILE.json --plot=FILE.png    # draw

Images are noise, since the cost does not depend on their content. The probe takes a fixed number of
iterations. Every point is measured in several new processes, since equal processes differ in their
peak memory.
"""

import argparse
import dataclasses
import datetime
import functools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from cifsel.config import Parser, local_path
from cifsel.reports import looks, style
from cifsel.runtime import command

MODELS = {"mobilenet": "MobileNet V1", "efficientnetv2-b0": "EfficientNetV2-B0"}
ITERATIONS = 100  # of the solver of the probe, about as many as on real features
ROUNDS = 5
PROCESSES = 3


@dataclasses.dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
      model: as in configs.
      work: 'step', a training step with fixed batch norm, or 'probe', features of all images and
        ITERATIONS of the solver.
      images: training images of the probe.
      size: pixels per side.
      batch: images per step.
      classes: number of classes.
    """

    model: str
    work: str
    images: int = 2000
    size: int = 96
    batch: int = 32
    classes: int = 50


# Quantity that varies -> work that is measured, values.
SWEEPS: dict[str, tuple[str, tuple[int, ...]]] = {
    "images": ("probe", (500, 1000, 2000, 4000, 8000, 16000)),
    "size": ("step", (48, 64, 96, 128, 192, 256)),
    "batch": ("step", (4, 8, 16, 32, 64, 128)),
    "classes": ("step", (2, 10, 50, 200, 1000)),
}
LABELS = {
    "images": "training images (probe)",
    "size": "pixels per side (step)",
    "batch": "images per step (step)",
    "classes": "classes (step)",
}


def measure(point: Point) -> dict[str, float]:
    """Seconds without compiling, and the peak of the memory of this process in GB."""
    from cifsel.runtime import memory

    memory.keep_freed()
    seconds = probe_seconds(point) if point.work == "probe" else step_seconds(point)
    return {
        "seconds": seconds,
        "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def step_seconds(point: Point) -> float:
    """Median over ROUNDS of a training step."""
    from experiments.bench import work

    kinds = work.ours(point.model, point.size, point.batch, "float32", point.classes)
    step = kinds["train, fixed BN"]
    times = []
    for _ in range(1 + ROUNDS):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])  # The first call compiles.


def probe_seconds(point: Point) -> float:
    """Seconds of features and solver, computed as in a run."""
    import jax
    import jax.numpy as jnp

    from cifsel.evaluation import features, inference
    from cifsel.models.classifier import build
    from cifsel.training import lbfgs

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (point.images, 32, 32, 3), np.uint8)
    labels = jnp.asarray(rng.integers(0, point.classes, point.images))
    model = build(point.model, num_classes=point.classes)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, point.size, point.size, 3)))
    view = features.View(point.size, "bicubic", mirror=False)
    forward = functools.partial(features.pooled(model, view), variables)
    forward(jnp.asarray(images[:64])).block_until_ready()  # Compiles.
    began = time.perf_counter()
    x = jnp.asarray(inference.map_batches(forward, images, 64))
    start = lbfgs.zero_weights(x.shape[1], point.classes)
    solved = lbfgs.solve(x, labels, jnp.float32(1e-2), start, max_steps=ITERATIONS, tolerance=0.0)
    jax.block_until_ready(solved)
    return time.perf_counter() - began


def sweep(path: Path) -> None:
    """Measures every point in PROCESSES new processes. Writes the record after each."""
    setup = {
        "date": datetime.date.today().isoformat(),
        "cores": os.cpu_count(),
        "iterations": ITERATIONS,
    }
    results: list[dict[str, Any]] = [
        {"varied": varied, "value": value, "model": model, "seconds": [], "peak_gigabytes": []}
        for varied, (_, values) in SWEEPS.items()
        for model in MODELS
        for value in values
    ]
    for result in PROCESSES * results:
        changed: dict[str, Any] = {result["varied"]: result["value"]}
        point = Point(result["model"], SWEEPS[result["varied"]][0], **changed)
        arguments = ["--point", json.dumps(dataclasses.asdict(point))]
        done = subprocess.run(
            [sys.executable, "-m", "experiments.bench.scaling", *arguments],
            stdout=subprocess.PIPE,
            check=True,
        )
        for name, amount in json.loads(done.stdout).items():
            result[name].append(amount)
        print(result, flush=True)
        path.write_text(json.dumps({**setup, "results": results}, indent=1) + "\n")


def exponent(values: Sequence[float], seconds: Sequence[float]) -> float:
    """Exponent of the power law that fits best. It is 1 where twice as much takes twice as long."""
    return float(np.polyfit(np.log(values), np.log(seconds), 1)[0])


@style.styled
def draw(results: list[dict[str, Any]]) -> Figure:
    """Seconds above and memory below, a column per quantity that varies."""
    figure = Figure(figsize=(12, 6), layout="constrained")
    grid = figure.subplots(2, len(SWEEPS), sharex="col")
    colours = {model: looks.colour(model) for model in MODELS}
    for (upper, lower), (varied, (_, values)) in zip(grid.T, SWEEPS.items(), strict=True):
        powers = []
        for model, name in MODELS.items():
            points = [r for r in results if (r["varied"], r["model"]) == (varied, model)]
            for axes, key in ((upper, "seconds"), (lower, "peak_gigabytes")):
                low, middle, high = np.quantile(
                    [point[key] for point in points], (0, 0.5, 1), axis=1
                )
                axes.plot(values, middle, "o-", color=colours[model], label=name)
                axes.fill_between(values, low, high, color=colours[model], alpha=0.2, linewidth=0)
            seconds = [statistics.median(point["seconds"]) for point in points]
            powers.append(f"{exponent(values[-3:], seconds[-3:]):z.2f}")
        upper.set_title(f"power {' and '.join(powers)}")
        upper.set(xscale="log", yscale="log")
        upper.margins(y=0.4)  # Leaves room for more than one label on an axis with little change.
        upper.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        upper.yaxis.set_major_formatter("{x:g}")
        upper.yaxis.set_minor_formatter(NullFormatter())
        lower.set_xticks(values, [f"{value:,}" for value in values])
        lower.xaxis.set_minor_locator(NullLocator())
        lower.set_ylim(bottom=0)
        lower.set_xlabel(LABELS[varied])
    grid[0, 0].legend()
    grid[0, 0].set_ylabel("seconds")
    grid[1, 0].set_ylabel("peak memory, GB")
    figure.suptitle(
        f"Cost on 2 CPU cores: medians and ranges of {PROCESSES} processes. "
        "Power: of the last three points; 1 where twice as much takes twice"
    )
    return figure


def main() -> None:
    """Measures, or draws a record."""
    parser = Parser("experiments.bench.scaling", __doc__)
    parser.add_argument(
        "--json", type=local_path, metavar="FILE", help="record of the measurements"
    )
    parser.add_argument(
        "--plot", type=local_path, metavar="FILE", help="draw the record there instead of measuring"
    )
    parser.add_argument("--point", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.point:
        print(json.dumps(measure(Point(**json.loads(flags.point)))))
    elif not flags.json:
        parser.error("--json is missing: give --json=FILE")
    else:
        command.start_terminal()
        command.guarded(lambda: measure_or_draw(flags.json, flags.plot))


def measure_or_draw(record: Path, plot: Path | None) -> None:
    """Measures into a record, or draws it."""
    if plot is None:
        sweep(record)
    else:
        style.save(draw(json.loads(record.read_text())["results"]), plot)


if __name__ == "__main__":
    main()
