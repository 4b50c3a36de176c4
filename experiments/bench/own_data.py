"""Times what reading own images costs: the search for copies, and a first and a next start.

    python -m experiments.bench.own_data --data=FOLDER --json=experiments/results/own_data.json

The search runs over the images of CIFAR-100. The starts are whole linear probes with
MobileNet on the images of FOLDER. The first one has an empty cache folder, so that it decodes the
images and compiles. The next one finds both.
"""

import dataclasses
import datetime
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from cifsel.config import Parser, path
from cifsel.data import cifar, copies
from cifsel.runtime import command, terminal
from cifsel.workdir import provenance
from experiments.bench import commands

COUNTS = (1_000, 10_000, 50_000)


def cifar_images() -> np.ndarray:
    """All images of CIFAR-100, (60000, 32, 32, 3) uint8."""
    dataset = cifar.load_cifar(None, all_classes=True, val_per_class=1, seed=0)
    return np.concatenate([part.images for part in (dataset.train, dataset.val, dataset.test)])


def searches() -> list[dict[str, float]]:
    """Seconds of the search by number of images, with the pairs that it finds."""
    thumbnails = copies.all_thumbnails(cifar_images()[: max(COUNTS)])
    rows = []
    for number in COUNTS:
        began = time.perf_counter()
        pairs = copies.near_copies(thumbnails[:number])
        seconds = time.perf_counter() - began
        rows.append({"images": number, "seconds": seconds, "pairs": len(pairs)})
    return rows


def starts(data: str) -> list[commands.Timing]:
    """Whole processes: the first and the next run on the same images."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fields = (f"--config.data={data}", "--config.skip_unreadable=True")
        run = ("--config=configs/folder.py:probe", "--config.model=mobilenet", *fields)
        timings = []
        for state in ("first", "next"):
            arguments = ["-m", "cifsel.main", *run, f"--workdir={folder / state}"]
            timings.append(commands.Timing("probe", state, *commands.run(arguments, folder)))
    return timings


def measure(data: str, target: str) -> None:
    """Measures all and writes the record."""
    record = {
        "date": datetime.date.today().isoformat(),
        "processor": provenance.processor(),
        "cores": os.cpu_count(),
        "data": Path(data).name,
        "searches": searches(),
        "starts": [dataclasses.asdict(timing) for timing in starts(data)],
    }
    Path(target).write_text(json.dumps(record, indent=1) + "\n")
    terminal.answer(json.dumps(record, indent=1))


def main() -> None:
    """Parses the command line and measures."""
    parser = Parser("experiments.bench.own_data", __doc__)
    add = parser.add_argument
    add("--data", required=True, type=path, metavar="FOLDER", help="images, as configs/folder.py")
    add("--json", required=True, type=path, metavar="FILE", help="where to write the record")
    flags = parser.parse_args()
    command.start_terminal()
    command.guarded(lambda: measure(flags.data, flags.json))


if __name__ == "__main__":
    main()
