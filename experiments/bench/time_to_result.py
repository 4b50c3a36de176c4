"""Times from a command to a test accuracy above 61.0 %, which the reference notebook reported.

    python -m experiments.bench.time_to_result --json=experiments/results/time_to_result.json

Times whole processes one after the other, start-up and compiling included: cifsel with an empty
cache folder, cifsel again with the folder that this run filled, and the procedure of the notebook
in Keras (notebook_in_keras.py). All score 2,000 test images. Needs the real data and weights, and
Keras.
"""

import argparse
import datetime
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cifsel.config import Parser, local_path
from cifsel.evaluation.scoring import wilson
from cifsel.runtime import command
from cifsel.workdir import provenance

# Number and size of the images were chosen on validation images.
OURS = (
    "-m cifsel.main --config=configs/effnet.py:probe --config.image_size=112"
    " --config.mirror=False --config.train_examples=5000 --config.val_per_class=20"
    " --config.test_examples=2000 --config.probe_tolerance=1e-3"
)
KERAS = "-m experiments.bench.notebook_in_keras"
NOTEBOOK = 0.61


def timed(arguments: str, environment: dict[str, str]) -> tuple[float, str]:
    """Seconds of a Python process, and its output."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *shlex.split(arguments)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return time.perf_counter() - began, done.stdout


def ours(cache: Path, workdir: Path) -> dict[str, Any]:
    """One run of cifsel."""
    wall, _ = timed(f"{OURS} --workdir={workdir}", {"CIFSEL_CACHE": str(cache)})
    metrics = json.loads((workdir / "metrics.json").read_text())
    return {
        "wall_seconds": wall,
        "test_accuracy": metrics["test"]["accuracy"],
        "test_images": metrics["examples"]["test"],
        "seconds": metrics["cost"]["seconds"],
    }


def measure(rounds: int, keras_rounds: int) -> dict[str, list[dict[str, Any]]]:
    """All runs, by kind."""
    runs: dict[str, list[dict[str, Any]]] = {"first run": [], "next run": [], "Keras": []}
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            for kind in ("first run", "next run"):
                cache, workdir = Path(folder) / "cache", Path(folder) / kind.replace(" ", "-")
                runs[kind].append(ours(cache, workdir))
                print(kind, runs[kind][-1], flush=True)
        if number < keras_rounds:
            wall, printed = timed(KERAS, {})
            results = json.loads(printed.splitlines()[-1])
            runs["Keras"].append({"wall_seconds": wall, **results})
            print("Keras", runs["Keras"][-1], flush=True)
    return runs


def table(runs_by_kind: dict[str, list[dict[str, Any]]]) -> str:
    """A table in Markdown."""
    keras_walls = [run["wall_seconds"] for run in runs_by_kind["Keras"]]
    reference = sum(keras_walls) / len(keras_walls)
    lines = [
        "| | wall time, s | runs | times as fast | test accuracy | 95 % interval | above 61.0 % |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind, runs in runs_by_kind.items():
        walls = [run["wall_seconds"] for run in runs]
        mean, run = sum(walls) / len(walls), runs[0]
        low, high = wilson(run["test_accuracy"] * run["test_images"], run["test_images"])
        lines.append(
            f"| {kind} | {mean:.0f} ({min(walls):.0f} to {max(walls):.0f}) | {len(walls)} |"
            f" {reference / mean:.1f} | {100 * run['test_accuracy']:.1f} % |"
            f" {100 * low:.1f} to {100 * high:.1f} % |"
            f" {'yes' if low > NOTEBOOK else 'not surely' if high > NOTEBOOK else 'no'} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Parses the command line and measures."""
    parser = Parser("experiments.bench.time_to_result", __doc__)
    parser.add_argument(
        "--rounds", type=int, default=3, help="pairs of a first and a next run of cifsel"
    )
    parser.add_argument(
        "--keras-rounds", type=int, default=1, help="runs of the notebook's procedure"
    )
    parser.add_argument("--json", type=local_path, help="write all measurements there")
    flags = parser.parse_args()
    command.start_terminal()
    command.guarded(lambda: report(flags))


def report(flags: argparse.Namespace) -> None:
    """Measures, prints the table, and writes the record."""
    runs = measure(flags.rounds, flags.keras_rounds)
    print(table(runs))
    if flags.json:
        setup = {
            "date": datetime.date.today().isoformat(),
            "processor": provenance.processor(),
            "cores": os.cpu_count(),
            "commands": {"cifsel": OURS, "Keras": KERAS},
        }
        flags.json.write_text(json.dumps({**setup, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
