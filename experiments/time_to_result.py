"""From the command to a test accuracy above the notebook's 61.0 %, beside the notebook's procedure.

    python -m experiments.time_to_result --json=experiments/time_to_result.json

Times whole processes, start-up and compiling included, one after the other: this code with an empty
cache folder, the same with what that run left there, and the notebook's procedure in Keras
(experiments/notebook_in_keras.py). As many test images as the notebook's, 2,000. Needs the real
data and weights, and Keras.
"""

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

from cifsel.config import arguments
from cifsel.evaluation.scoring import wilson
from experiments.bench import machine

# Chosen on validation images: fewer images at more pixels teach as much as more images at fewer.
OURS = (
    "-m cifsel.main --config=configs/effnet.py:probe --config.image_size=112"
    " --config.mirror=False --config.train_examples=5000 --config.val_per_class=20"
    " --config.test_examples=2000 --config.probe_tolerance=1e-3"
)
KERAS = "-m experiments.notebook_in_keras"
NOTEBOOK = 0.61


def timed(arguments: str, environment: dict[str, str]) -> tuple[float, str]:
    """Seconds of a Python process, and what it printed."""
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
    """One run of this code."""
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
    found: dict[str, list[dict[str, Any]]] = {"first run": [], "next run": [], "Keras": []}
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            for kind in ("first run", "next run"):
                cache, workdir = Path(folder) / "cache", Path(folder) / kind.replace(" ", "-")
                found[kind].append(ours(cache, workdir))
                print(kind, found[kind][-1], flush=True)
        if number < keras_rounds:
            wall, printed = timed(KERAS, {})
            about = json.loads(printed.splitlines()[-1])
            found["Keras"].append({"wall_seconds": wall, **about})
            print("Keras", found["Keras"][-1], flush=True)
    return found


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown."""
    slowest = [run["wall_seconds"] for run in found["Keras"]]
    reference = sum(slowest) / len(slowest)
    lines = [
        "| | wall time, s | times as fast | test accuracy | 95 % interval | above 61.0 % |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for kind, runs in found.items():
        walls = [run["wall_seconds"] for run in runs]
        mean, run = sum(walls) / len(walls), runs[0]
        low, high = wilson(run["test_accuracy"] * run["test_images"], run["test_images"])
        lines.append(
            f"| {kind} | {mean:.0f} ({min(walls):.0f} to {max(walls):.0f}, {len(walls)} runs) |"
            f" {reference / mean:.1f} | {run['test_accuracy']:.1%} | {low:.1%} to {high:.1%} |"
            f" {'yes' if low > NOTEBOOK else 'not surely' if high > NOTEBOOK else 'no'} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures and prints."""
    made = arguments.Parser("experiments.time_to_result", __doc__)
    made.add_argument("--rounds", type=int, default=3, help="runs of this code, each with a next")
    made.add_argument("--keras-rounds", type=int, default=1, help="of the notebook's procedure")
    made.add_argument("--json", type=Path, help="write everything measured there")
    flags = made.parse_args()
    found = measure(flags.rounds, flags.keras_rounds)
    print(table(found))
    if flags.json:
        about = {
            "date": datetime.date.today().isoformat(),
            "processor": machine.processor(),
            "cores": os.cpu_count(),
            "commands": {"cifsel": OURS, "Keras": KERAS},
        }
        flags.json.write_text(json.dumps({**about, "runs": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
