"""What a run costs with more images, pixels, images per step, or classes: seconds and memory.

    python -m experiments.scaling --json=experiments/scaling.json       # measure, one by one
    python -m experiments.scaling --json=experiments/scaling.json --plot=experiments/scaling.png

Images are noise: what is computed does not depend on what is in them, and the probe is given a
fixed number of iterations. Every point is measured in several new processes, for how much memory
one takes at most is partly luck.
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
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from cifsel.config import arguments
from cifsel.reports import style

MODELS = {"mobilenet": "MobileNet V1", "efficientnetv2-b0": "EfficientNetV2-B0"}
ITERATIONS = 100  # of the probe: about what a penalty takes on real features
ROUNDS = 5
PROCESSES = 3


@dataclasses.dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
      model: as in configs.
      work: 'step', a training step with fixed batch norm; 'probe', features of all images and
        ITERATIONS of the solver.
      images: of the probe.
      size: pixels.
      batch: images per step.
      classes: K.
    """

    model: str
    work: str
    images: int = 2000
    size: int = 96
    batch: int = 32
    classes: int = 50


# What varies, the work it is shown on, and the values.
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
    """Seconds without compiling, and the peak of this process's memory in GB."""
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
    return statistics.median(times[1:])  # The first one compiles.


def probe_seconds(point: Point) -> float:
    """Of features and solver, as a run computes them."""
    import jax
    import jax.numpy as jnp

    from cifsel.evaluation import features, inference
    from cifsel.models.classifier import build
    from cifsel.training import probe

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
    start = probe.zero_weights(x.shape[1], point.classes)
    solved = probe.solve(x, labels, jnp.float32(1e-2), start, max_steps=ITERATIONS, tolerance=0.0)
    jax.block_until_ready(solved)
    return time.perf_counter() - began


def sweep(path: Path) -> None:
    """Measures every point in a process of its own, and all of them again; writes as it goes."""
    about = {
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
    for one in PROCESSES * results:
        changed: dict[str, Any] = {one["varied"]: one["value"]}
        point = Point(one["model"], SWEEPS[one["varied"]][0], **changed)
        arguments = ["--point", json.dumps(dataclasses.asdict(point))]
        done = subprocess.run(
            [sys.executable, "-m", "experiments.scaling", *arguments],
            stdout=subprocess.PIPE,
            check=True,
        )
        for name, figure in json.loads(done.stdout).items():
            one[name].append(figure)
        print(one, flush=True)
        path.write_text(json.dumps({**about, "results": results}, indent=1) + "\n")


def exponent(values: list[float], seconds: list[float]) -> float:
    """Of the power that fits best: 1 where twice as much takes twice as long."""
    return float(np.polyfit(np.log(values), np.log(seconds), 1)[0])


@style.styled
def draw(results: list[dict[str, Any]]) -> Figure:
    """Seconds above, memory below, a column for each quantity that was varied."""
    figure = Figure(figsize=(12, 6), layout="constrained")
    grid = figure.subplots(2, len(SWEEPS), sharex="col")
    colours = dict(zip(MODELS, (style.BLUE, style.ORANGE), strict=True))
    for (upper, lower), (varied, (_, values)) in zip(grid.T, SWEEPS.items(), strict=True):
        powers = []
        for model, name in MODELS.items():
            there = [one for one in results if (one["varied"], one["model"]) == (varied, model)]
            for axes, key in ((upper, "seconds"), (lower, "peak_gigabytes")):
                low, middle, high = np.quantile([one[key] for one in there], (0, 0.5, 1), axis=1)
                axes.plot(values, middle, "o-", color=colours[model], label=name)
                axes.fill_between(values, low, high, color=colours[model], alpha=0.2, linewidth=0)
            seconds = [statistics.median(one["seconds"]) for one in there]
            powers.append(f"{exponent(list(values[-3:]), seconds[-3:]):z.2f}")
        upper.set_title(f"power {' and '.join(powers)}")
        upper.set(xscale="log", yscale="log")
        upper.margins(y=0.4)  # So that an axis of little change has more than one label.
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
    """Measures, or draws what was measured."""
    made = arguments.Parser("experiments.scaling", __doc__)
    made.add_argument("--json", type=Path, metavar="FILE", help="of the measurements")
    made.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw them there rather than measure"
    )
    made.add_argument("--point", help=argparse.SUPPRESS)
    flags = made.parse_args()
    if flags.point:
        print(json.dumps(measure(Point(**json.loads(flags.point)))))
    elif not flags.json:
        made.error("--json is missing: give --json=FILE")
    elif flags.plot:
        style.save(draw(json.loads(flags.json.read_text())["results"]), flags.plot)
    else:
        sweep(flags.json)


if __name__ == "__main__":
    main()
