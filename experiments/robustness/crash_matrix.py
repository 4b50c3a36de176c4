r"""Disturbs a real run at random moments and compares its results with an undisturbed run.

    python -m experiments.robustness.crash_matrix --output=DIR    # 36 moments of a short quickstart
    python -m experiments.robustness.crash_matrix --output=DIR --points=3 --ways SIGKILL -- \
        --config=configs/effnet.py --config.image_size=64 --config.train_examples=2000

Arguments after `--` go to cifsel.main. The command runs undisturbed first. It then runs in new
workdirs, is disturbed at random moments and started again until it finishes. Each disturbance has
to leave whole files, finished results as they were, and the documented exit status. A finished run
has to have the results of the undisturbed run and no temporary files. Exits with 1 otherwise.

The full disk is a small tmpfs, which only root can mount. Root gives up its right to write
anywhere by `setpriv`. A way that this machine does not support is skipped with a message.
"""

import argparse
import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cifsel.config import arguments
from cifsel.runtime import command
from cifsel.runtime.terminal import count, say
from experiments.robustness.run_results import (
    Wrong,
    check_whole,
    differences,
    digest,
    finished,
    left_over,
    results,
)

QUICK = [
    "--config=configs/quickstart.py",
    "--config.epochs=4",
    "--config.train_examples=1000",
    "--config.test_examples=500",
    "--config.checkpoint_minutes=0.0",
    "--config.selfie.depths=(0.5,1.0)",
    "--config.selfie.grids=(1,)",
    "--config.selfie.l2=(0.01,0.1)",
    "--config.selfie.folds=3",
    "--config.selfie.repeats=1",
    "--config.selfie.permutations=5",
    "--config.selfie.leave_one_out=0",
]
TMPFS_MB = 500
STOP_SECONDS = 120.0  # longest time for a run to stop, or to notice that it cannot write


def main() -> None:
    """Parses the command line and runs the matrix."""
    parser = arguments.Parser("experiments.robustness.crash_matrix", __doc__)
    parser.add_argument(
        "--output",
        type=arguments.local_path,
        required=True,
        metavar="DIR",
        help="a folder that does not exist",
    )
    parser.add_argument(
        "--points", type=int, default=36, metavar="N", help="number of disturbances"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the moments")
    parser.add_argument(
        "--ways",
        nargs="+",
        choices=WAYS,
        default=list(WAYS),
        metavar="WAY",
        help=f"ways to disturb, of {', '.join(WAYS)}",
    )
    parser.add_argument("command", nargs="*", default=QUICK, help="arguments of cifsel.main")
    flags = parser.parse_args()
    # A shell ignores SIGINT in background jobs, and child processes inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command.start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # Unmounts the disk first.
    command.guarded(lambda: disturb(flags))


def disturb(flags: argparse.Namespace) -> None:
    """Runs the command undisturbed and disturbed, and exits with 1 if results differ."""
    output = flags.output.resolve()
    output.mkdir(parents=True)
    ways = []
    for way in flags.ways:
        if reason := impossible(way):
            say(reason)
        else:
            ways.append(way)
    with volume(output / "disk", "full" in ways) as disk:
        matrix = Matrix(flags.command, disk, output)
        undisturbed = matrix.undisturbed()
        turns = itertools.cycle(ways)
        rng = random.Random(flags.seed)
        while matrix.points < flags.points:
            matrix.disturbed_run(undisturbed, turns, rng, flags.points)
    disturbances, runs = count(matrix.points, "disturbance"), count(matrix.runs, "run")
    say(f"{disturbances} in {runs}, {matrix.wrong} wrong")
    if matrix.wrong:
        sys.exit(1)


# --- ways to disturb a run -----------------------------------------------------------------------
# Each function disturbs a process or its workdir and returns a function that undoes it.


def _signalled(number: signal.Signals) -> Callable[[subprocess.Popen, Path], Callable[[], None]]:
    def disturb(process: subprocess.Popen, _: Path) -> Callable[[], None]:
        process.send_signal(number)
        return lambda: None

    return disturb


def _full(_: subprocess.Popen, workdir: Path) -> Callable[[], None]:
    ballast = workdir.parent / "ballast"
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        for size in (1_000_000, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(file.fileno(), bytes(size))
    return ballast.unlink


def _read_only(_: subprocess.Popen, workdir: Path) -> Callable[[], None]:
    def allow(mode: int) -> None:
        for folder in [workdir, *workdir.rglob("*/")]:
            with contextlib.suppress(FileNotFoundError):  # Removed in the meantime.
                folder.chmod(mode)

    allow(0o555)
    return lambda: allow(0o755)


WAYS = {
    "SIGKILL": _signalled(signal.SIGKILL),
    "SIGTERM": _signalled(signal.SIGTERM),
    "SIGINT": _signalled(signal.SIGINT),
    "full": _full,
    "read-only": _read_only,
}
# Documented exit statuses. A negative one is a signal that arrived before the handler was set, or
# while there was nothing to save.
EXIT_STATUSES = {
    "SIGKILL": {-9},
    "SIGTERM": {75, -15},
    "SIGINT": {130, -2},
    "full": {2},
    "read-only": {2},
}


def impossible(way: str) -> str | None:
    """Reason why this machine does not support a way, or None."""
    if way == "full" and os.geteuid() != 0:
        return "skipped: a full disk, since only root can mount a tmpfs"
    if way == "read-only" and os.geteuid() == 0 and not shutil.which("setpriv"):
        return "skipped: a read-only workdir, since root may write anywhere and setpriv is missing"
    return None


@contextlib.contextmanager
def volume(place: Path, small: bool) -> Iterator[Path]:
    """A new folder at `place`, on a small disk of its own if `small`."""
    place.mkdir()
    if not small:
        yield place
        return
    mount = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_MB}m,mode=755", "cifsel", str(place)]
    subprocess.run(mount, check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


# --- runs ----------------------------------------------------------------------------------------


class Matrix:
    """Runs a command in new workdirs and counts failures.

    Attributes:
      points: disturbances so far.
      runs: disturbed runs so far.
      wrong: runs that failed a check.
      seconds: duration of the undisturbed run.
    """

    def __init__(self, arguments: list[str], disk: Path, output: Path) -> None:
        """Takes the arguments of cifsel.main, a folder for workdirs and one for logs."""
        self.arguments, self.output = arguments, output
        # All runs share one path, since results contain it.
        self.workdir = disk / "run"
        self.points = self.runs = self.wrong = 0
        self.seconds = 0.0

    def undisturbed(self) -> dict[str, Any]:
        """Expected results. Runs twice, since the first run also compiles."""
        both = []
        for name in ("first", "second"):
            start = time.monotonic()
            process = self.start(self.output / f"{name}.log")
            if process.wait():
                raise SystemExit(f"the undisturbed run failed: see {self.output / name}.log")
            self.seconds = time.monotonic() - start
            both.append(results(self.workdir))
            shutil.rmtree(self.workdir)
        if differing := differences(*both):
            raise SystemExit(f"two undisturbed runs differ: {differing}")
        say(f"undisturbed: {self.seconds:.0f} s, {len(both[0])} results")
        return both[0]

    def start(self, log: Path) -> subprocess.Popen:
        """Starts the command and appends its output to a log."""
        line = [sys.executable, "-m", "cifsel.main", *self.arguments, f"--workdir={self.workdir}"]
        if os.geteuid() == 0 and shutil.which("setpriv"):
            # Without this right, root respects permissions like every other user.
            line = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override", *line]
        self.workdir.mkdir(exist_ok=True)  # A disturbance may come before the run creates it.
        with log.open("ab") as file:
            return subprocess.Popen(line, stdout=file, stderr=subprocess.STDOUT)

    def disturbed_run(
        self, expected: dict[str, Any], turns: Iterator[str], rng: random.Random, points: int
    ) -> None:
        """Disturbs a run until it finishes. Stops disturbing after `points` disturbances in all."""
        name = f"run-{self.runs}"
        workdir, log = self.workdir, self.output / f"{name}.log"
        self.runs += 1
        try:
            while True:
                process = self.start(log)
                wait = rng.uniform(0, self.seconds) if self.points < points else None
                try:
                    status = process.wait(wait)
                    break
                except subprocess.TimeoutExpired:
                    way = next(turns)
                    self.points += 1
                    self.disturb(process, way, workdir, log, wait or 0.0)
            if status:
                raise Wrong(f"the command ended with {status}")
            if differing := differences(expected, results(workdir)):
                raise Wrong(f"results differ from the undisturbed run: {differing}")
            if left := left_over(workdir):
                raise Wrong(f"left over: {left}")
            say(f"{name}: the same results, nothing left over")
        except Wrong as wrong:
            self.wrong += 1
            say(f"{name}: WRONG: {wrong} (see {log})")
        shutil.rmtree(workdir, ignore_errors=True)

    def disturb(
        self, process: subprocess.Popen, way: str, workdir: Path, log: Path, after: float
    ) -> None:
        """Disturbs a process and checks its exit status, output and files."""
        before = finished(workdir)
        log_size = log.stat().st_size
        begun = time.monotonic()
        undo = WAYS[way](process, workdir)
        try:
            status = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Wrong(f"{way}: the run went on for {STOP_SECONDS:.0f} s") from None
        finally:
            undo()
        took = time.monotonic() - begun
        lines = log.read_bytes()[log_size:].decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else ""
        name = f"run-{self.runs - 1}"
        say(f"{name}: {way} after {after:.1f} s: status {status} after {took:.1f} s: {last}")
        allowed = {*EXIT_STATUSES[way], 0}  # 0: the run finished just before.
        if status not in allowed:
            raise Wrong(f"{way} gave exit status {status}, not one of {sorted(allowed)}")
        if any(line.startswith("Traceback") for line in lines) and status != -signal.SIGINT:
            raise Wrong(f"{way} gave a traceback")
        check_whole(workdir)
        for path, content in before.items():
            if not path.exists() or digest(path) != content:
                raise Wrong(f"{way}: {path} was finished and has changed")


if __name__ == "__main__":
    main()
