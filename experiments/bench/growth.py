"""Times what compares images or photos with each other, by their number.

    python -m experiments.bench.growth --json=FILE.json                    # measure
    python -m experiments.bench.growth --json=FILE.json --plot=FILE.png    # draw

Two searches run over the images of CIFAR-100. `copies` are the same image, rescaled or compressed
anew: the search of a user's own images. `twins` are two pictures of 32 pixels from one photograph:
the search of a comparison on CIFAR-100, one test image to five others. The parts of task 2's
protocol run on made-up features, with the settings of configs/selfie.py. Seconds include compiling.
"""

import datetime
import functools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cifsel.comparison import duplicates
from cifsel.config import SELFIE, Parser, local_path
from cifsel.data import copies
from cifsel.reports import layout, style
from cifsel.runtime import command
from cifsel.selfie import run as selfie_run
from cifsel.selfie.protocol import folds
from cifsel.selfie.protocol.learning_curve import compute_learning_curve
from cifsel.selfie.protocol.logistic import RotatedFeatures
from cifsel.selfie.protocol.nested_cv import nested_cross_validation
from cifsel.selfie.protocol.permutation import permutation_test
from cifsel.workdir import provenance
from experiments.bench.own_data import cifar_images
from experiments.bench.scaling import exponent

IMAGES = (3_000, 6_000, 12_000, 24_000, 48_000)
PHOTOS = (25, 50, 100, 200, 500, 1_000)
# The name of a kind of work -> its name in pictures and tables.
LABELS = {
    "copies": "search for copies",
    "twins": "search for twins",
    "crossval": "task 2, cross-validation",
    "permutation": "task 2, permutation test",
    "curve": "task 2, learning curve",
}
_FEATURES = 2_000  # of a made-up photo
_LAST = 3  # values to which a power is fitted


@functools.cache
def _cifar() -> np.ndarray:
    """The images of CIFAR-100 in a fixed random order."""
    images = cifar_images()
    return images[np.random.default_rng(0).permutation(len(images))]


def search_copies(count: int) -> Callable[[], Any]:
    """The search for copies among so many images, once their thumbnails are made."""
    thumbnails = copies.all_thumbnails(_cifar()[:count])
    return lambda: copies.near_copies(thumbnails)


def search_twins(count: int) -> Callable[[], Any]:
    """The search for twins of one image in six among the other five."""
    images = _cifar()[:count]
    return lambda: duplicates.find_duplicates(images[: count // 6], images[count // 6 :])


@functools.cache
def _made_up_points(kinds: int, count: int) -> np.ndarray:
    """Coordinates (kinds, count, count) of photos whose classes, 0 and 1 in turns, overlap."""
    shifts = np.arange(count)[:, None] % 2 * 0.1
    vectors = np.random.default_rng(0).normal(shifts, 1.0, (kinds, count, _FEATURES))
    return np.stack([RotatedFeatures.of(kind).points for kind in vectors])


def protocol(count: int, part: str) -> Callable[[], Any]:
    """A part of task 2 on so many photos of two classes, each a group of its own."""
    config = SELFIE.defaults()
    settings = selfie_run.probe_settings(config)
    labels, groups = np.arange(count) % 2, np.arange(count)
    points = _made_up_points(len(settings.depths), count)
    repeated = folds.repeated(
        labels, groups, folds=config.folds, repeats=config.repeats, seed=config.seed
    )
    parts: dict[str, Callable[[], Any]] = {
        "crossval": lambda: nested_cross_validation(
            points, labels, repeated, settings.l2, 2, average=settings.average
        ),
        "permutation": lambda: permutation_test(
            points,
            labels,
            groups,
            folds=config.folds,
            l2=settings.l2,
            average=settings.average,
            observed=0.9,
            permutations=config.permutations,
            seed=config.seed,
        ),
        "curve": lambda: compute_learning_curve(
            points,
            labels,
            groups,
            repeated,
            l2=settings.l2,
            average=settings.average,
            seed=config.seed,
        ),
    }
    return parts[part]


WORK: dict[str, tuple[tuple[int, ...], Callable[[int], Callable[[], Any]]]] = {
    "copies": (IMAGES, search_copies),
    "twins": (IMAGES, search_twins),
} | {
    part: (PHOTOS, functools.partial(protocol, part=part))
    for part in ("crossval", "permutation", "curve")
}


def measure(record: Path) -> None:
    """Times all, and writes the record after each."""
    setup = {
        "date": datetime.date.today().isoformat(),
        "processor": provenance.processor(),
        "cores": os.cpu_count(),
    }
    results: list[dict[str, Any]] = []
    for name, (counts, prepare) in WORK.items():
        for count in counts:
            call = prepare(count)
            began = time.perf_counter()
            call()
            seconds = time.perf_counter() - began
            results.append({"work": name, "count": count, "seconds": seconds})
            print(results[-1], flush=True)
            record.write_text(json.dumps({**setup, "results": results}, indent=1) + "\n")


def seconds_of(results: list[dict[str, Any]], work: str) -> dict[int, float]:
    """The seconds of a kind of work by number."""
    return {row["count"]: row["seconds"] for row in results if row["work"] == work}


def power(seconds: dict[int, float]) -> float:
    """Exponent of the growth over the last values."""
    last = sorted(seconds)[-_LAST:]
    return exponent(last, [seconds[count] for count in last])


@style.styled
def draw(results: list[dict[str, Any]]) -> Figure:
    """Seconds by number: searches on the left, task 2 on the right."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, counts in zip(figure.subplots(1, 2), (IMAGES, PHOTOS), strict=True):
        works = [name for name, (own, _) in WORK.items() if own == counts]
        for place, name in enumerate(works):
            seconds = seconds_of(results, name)
            label = f"{LABELS[name]}, power {power(seconds):.2f}"
            axes.plot(
                list(seconds),
                list(seconds.values()),
                label=label,
                **layout.marker_style(place, linestyle="-"),
            )
        axes.set(xscale="log", yscale="log")
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("images" if counts == IMAGES else "photos")
        axes.legend()
    figure.axes[0].set_ylabel("seconds")
    figure.suptitle(f"Power: of the last {_LAST} points. 1 where twice as many take twice as long")
    return figure


def main() -> None:
    """Measures, or draws a record."""
    parser = Parser("experiments.bench.growth", __doc__)
    add = parser.add_argument
    add("--json", required=True, type=local_path, metavar="FILE", help="record of the measurements")
    add("--plot", type=local_path, metavar="FILE", help="draw the record there, do not measure")
    flags = parser.parse_args()
    command.start()

    def run() -> None:
        if flags.plot:
            style.save(draw(json.loads(flags.json.read_text())["results"]), flags.plot)
        else:
            measure(flags.json)

    command.guarded(run)


if __name__ == "__main__":
    main()
