"""Times whole processes: start-up with all imports, and a linear probe from images to report.

    python -m experiments.bench.commands

The probe uses drawn images, so that it needs neither data nor weights: 5,000 training, 2,500
validation and 2,500 test images, EfficientNetV2-B0 at 64 px without mirroring. The run `first` has
an empty cache folder. The run `next` finds the programs that `first` compiled.
"""

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cifsel.config import Parser
from cifsel.runtime import command, terminal

PROBE = (
    "--config=configs/effnet.py:probe",
    "--config.dataset=drawn",
    "--config.weights=none",
    "--config.image_size=64",
    "--config.mirror=False",
)


@dataclasses.dataclass(frozen=True)
class Timing:
    """Cost of one process.

    Attributes:
      command: what was run.
      run: 'first', 'next', or empty where the cache makes no difference.
      seconds: wall time.
      peak_gigabytes: peak of the memory, 1e9 bytes.
    """

    command: str
    run: str
    seconds: float
    peak_gigabytes: float


def measure() -> list[Timing]:
    """Runs the processes one after the other."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Imports of a run. `cifsel.main` alone imports JAX later.
        imports = ["-c", "import cifsel.main, cifsel.task1"]
        timings = [Timing("start-up", "", *run(imports, folder))]
        for state in ("first", "next"):
            probe = ["-m", "cifsel.main", *PROBE, f"--workdir={folder / state}"]
            timings.append(Timing("probe, end to end", state, *run(probe, folder)))
    return timings


def run(arguments: list[str], folder: Path) -> tuple[float, float]:
    """Wall seconds and peak memory, in GB, of a Python process."""
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


def table(timings: list[Timing]) -> list[str]:
    """Lines of a table in Markdown."""
    lines = ["| command | run | seconds | peak, GB |", "| --- | --- | --- | --- |"]
    for timing in timings:
        amounts = f"{timing.seconds:.1f} | {timing.peak_gigabytes:.1f}"
        lines.append(f"| {timing.command} | {timing.run} | {amounts} |")
    return lines


if __name__ == "__main__":
    Parser("experiments.bench.commands", __doc__).parse_args()
    command.start_terminal()
    command.guarded(lambda: terminal.answer("\n".join(table(measure()))))
