"""Whole processes: start-up until all is imported, and a linear probe from images to report.

    python -m experiments.bench.commands

The probe is of drawn images, so that it needs neither data nor weights: 5,000 to train on, 2,500 to
validate, 2,500 to test, EfficientNetV2-B0 at 64 px without mirroring. `first` has an empty cache
folder, `next` the same folder, with what was compiled.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROBE = (
    "--config=configs/effnet.py:probe",
    "--config.dataset=drawn",
    "--config.weights=none",
    "--config.image_size=64",
    "--config.mirror=False",
)


def measure() -> list[dict[str, Any]]:
    """Seconds and peak memory of each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # What a run imports before its first line; `cifsel.main` alone leaves JAX for later.
        timed = [("start-up", "", *run(["-c", "import cifsel.main, cifsel.train"], folder))]
        for state in ("first", "next"):
            probe = ["-m", "cifsel.main", *PROBE, f"--workdir={folder / state}"]
            timed.append(("probe, end to end", state, *run(probe, folder)))
    keys = ("command", "run", "seconds", "peak_gigabytes")
    return [dict(zip(keys, one, strict=True)) for one in timed]


def run(arguments: list[str], folder: Path) -> tuple[float, float]:
    """Wall seconds of a Python process, and the peak of its memory in GB."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=os.environ | {"CIFSEL_CACHE": str(folder / "cache")},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        sys.exit(f"python {' '.join(arguments)} failed")
    return seconds, usage.ru_maxrss / 1e6


def table(found: list[dict[str, Any]]) -> list[str]:
    """Markdown."""
    rows = ["| command | run | seconds | peak, GB |", "| --- | --- | --- | --- |"]
    for one in found:
        amounts = f"{one['seconds']:.1f} | {one['peak_gigabytes']:.1f}"
        rows.append(f"| {one['command']} | {one['run']} | {amounts} |")
    return rows


if __name__ == "__main__":
    print("\n".join(table(measure())))
