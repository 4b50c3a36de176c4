r"""Breaks a real run at random moments and in many ways, and looks whether that changed anything.

    python -m experiments.crash_matrix --output=DIR          # 36 moments of a short quickstart
    python -m experiments.crash_matrix --output=DIR --points=3 --ways SIGKILL -- \
        --config=configs/effnet.py --config.image_size=64 --config.train_examples=2000

What follows `--` goes to cifsel.main. The command is run once undisturbed, then again and again in
new workdirs: disturbed at a moment drawn anew, given again, disturbed again, until it comes to its
end. After each disturbance every file has to be whole, the exit status has to be the promised one
and what was finished has to be as it was; at the end all results have to be those of the
undisturbed run, and nothing may be left over. Prints a line per moment; exits 1 if anything was not
so.

A disk that is full is a small tmpfs, which only root can mount; root is made to feel by `setpriv`
that a workdir cannot be written. Where either is not to be had it is left out, and said.
"""

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
from experiments.run_results import (
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
GIVES_UP_WITHIN = 120.0  # seconds: what a run may take to stop, or to notice that it cannot write


def main() -> None:
    """Runs the matrix."""
    parser = arguments.Parser("experiments.crash_matrix", __doc__)
    parser.add_argument("--output", type=Path, required=True, help="a folder that does not exist")
    parser.add_argument("--points", type=int, default=36, help="how often to disturb")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    known = ", ".join(WAYS)
    parser.add_argument(
        "--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY", help=f"of {known}"
    )
    parser.add_argument("command", nargs="*", default=QUICK, help="arguments of cifsel.main")
    flags = parser.parse_args()
    command.start()
    # In the background of a shell it would be ignored, also by what is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # Not without unmounting.
    output = flags.output.resolve()
    output.mkdir(parents=True)
    ways = [way for way in flags.ways if (reason := impossible(way)) is None or print(reason)]
    with volume(output / "disk", "full" in ways) as disk:
        matrix = Matrix(flags.command, disk, output)
        undisturbed = matrix.undisturbed()
        turns = itertools.cycle(ways)
        rng = random.Random(flags.seed)
        while matrix.points < flags.points:
            matrix.one_run(undisturbed, turns, rng, flags.points)
    print(f"{matrix.points} disturbances in {matrix.runs} runs, {matrix.wrong} wrong")
    sys.exit(matrix.wrong > 0)


# --- ways to disturb a run -----------------------------------------------------------------------
# Each disturbs a process and its workdir, and gives what takes the hindrance away again.


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
            with contextlib.suppress(FileNotFoundError):  # It was there for a moment only.
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
# Exit statuses that are promised; a negative one is a signal that came before there was a handler,
# or when nothing was under way that could be saved.
PROMISED = {
    "SIGKILL": {-9},
    "SIGTERM": {75, -15},
    "SIGINT": {130, -2},
    "full": {2},
    "read-only": {2},
}


def impossible(way: str) -> str | None:
    """Why a way cannot be gone on this machine."""
    if way == "full" and os.geteuid() != 0:
        return "left out: a full disk, since only root can mount a tmpfs"
    if way == "read-only" and os.geteuid() == 0 and not shutil.which("setpriv"):
        return "left out: a workdir that cannot be written, since root may write anywhere"
    return None


@contextlib.contextmanager
def volume(place: Path, small: bool) -> Iterator[Path]:
    """A folder; a small disk of its own, if wanted."""
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
    """Runs a command in new workdirs, and counts what was wrong."""

    def __init__(self, arguments: list[str], disk: Path, output: Path) -> None:
        """Takes the arguments of cifsel.main, the folder for workdirs, and one for logs."""
        self.arguments, self.output = arguments, output
        # The same for all, since results name it.
        self.workdir = disk / "run"
        self.points = self.runs = self.wrong = 0
        self.seconds = 0.0

    def undisturbed(self) -> dict[str, Any]:
        """The results to expect; of two runs, as the first one also compiles."""
        found = []
        for name in ("first", "second"):
            start = time.monotonic()
            process = self.start(self.output / f"{name}.log")
            if process.wait():
                raise SystemExit(f"the undisturbed run failed: see {self.output / name}.log")
            self.seconds = time.monotonic() - start
            found.append(results(self.workdir))
            shutil.rmtree(self.workdir)
        if differing := differences(*found):
            raise SystemExit(f"two undisturbed runs differ: {differing}")
        print(f"undisturbed: {self.seconds:.0f} s, {len(found[0])} results", flush=True)
        return found[0]

    def start(self, log: Path) -> subprocess.Popen:
        """Starts the command, with what it says added to a file."""
        line = [sys.executable, "-m", "cifsel.main", *self.arguments, f"--workdir={self.workdir}"]
        if os.geteuid() == 0 and shutil.which("setpriv"):
            # Root who has to ask for the right to write, like everybody else.
            line = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override", *line]
        self.workdir.mkdir(exist_ok=True)  # There is something to disturb from the first moment.
        with log.open("ab") as file:
            return subprocess.Popen(line, stdout=file, stderr=subprocess.STDOUT)

    def one_run(
        self, expected: dict[str, Any], turns: Iterator[str], rng: random.Random, points: int
    ) -> None:
        """Disturbs a run until it comes to its end, or `points` is reached, and then lets it."""
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
                raise Wrong(f"other results than undisturbed: {differing}")
            if left := left_over(workdir):
                raise Wrong(f"left over: {left}")
            print(f"{name}: the same results, nothing left over", flush=True)
        except Wrong as wrong:
            self.wrong += 1
            print(f"{name}: WRONG: {wrong} (see {log})", flush=True)
        shutil.rmtree(workdir, ignore_errors=True)

    def disturb(
        self, process: subprocess.Popen, way: str, workdir: Path, log: Path, after: float
    ) -> None:
        """Disturbs a process, and looks at what it does and leaves."""
        before = finished(workdir)
        said_before = log.stat().st_size
        begun = time.monotonic()
        undo = WAYS[way](process, workdir)
        try:
            status = process.wait(GIVES_UP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Wrong(f"{way}: went on for {GIVES_UP_WITHIN:.0f} s") from None
        finally:
            undo()
        took = time.monotonic() - begun
        said = log.read_bytes()[said_before:].decode(errors="replace").strip().splitlines()
        last = said[-1] if said else ""
        print(f"run-{self.runs - 1}: {after:5.1f} s: {way}: {status} after {took:.1f} s: {last}")
        promised = {*PROMISED[way], 0}  # It may have been at its end.
        if status not in promised:
            raise Wrong(f"{way} gave exit status {status}, not one of {sorted(promised)}")
        if any(line.startswith("Traceback") for line in said) and status != -signal.SIGINT:
            raise Wrong(f"{way} gave a traceback")
        check_whole(workdir)
        for path, content in before.items():
            if not path.exists() or digest(path) != content:
                raise Wrong(f"{way}: {path} was finished, and is no longer what it was")


if __name__ == "__main__":
    main()
