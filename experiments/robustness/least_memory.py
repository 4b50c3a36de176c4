r"""Finds the least memory that a command needs, by giving it less and less.

    python -m experiments.robustness.least_memory
    python -m experiments.robustness.least_memory --gigabytes 8 6 4 3 2 -- \
        --config=configs/effnet.py:probe --config.image_size=96 --workdir=WORKDIR

Arguments after `--` go to cifsel.main, with WORKDIR replaced by a new folder. A Linux control group
limits the memory without swap and kills the command when it needs more. That takes root and control
groups of version 1 or 2. Prints a line per amount and stops at the first that is too little.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cifsel.config import Parser
from cifsel.errors import UserError
from cifsel.runtime import command
from cifsel.runtime.terminal import say

GROUPS = Path("/sys/fs/cgroup")
RUNS = ["--config=configs/quickstart.py", "--workdir=WORKDIR"]


def main() -> None:
    """Parses the command line and runs the search."""
    parser = Parser("experiments.robustness.least_memory", __doc__)
    parser.add_argument(
        "--gigabytes",
        metavar="GB",
        type=float,
        nargs="+",
        default=[4.0, 3.0, 2.5, 2.0, 1.5, 1.25, 1.0],
        help="amounts to try, in units of 2^30 bytes",
    )
    parser.add_argument("command", nargs="*", default=RUNS, help="arguments of cifsel.main")
    flags = parser.parse_args()
    command.start()
    command.guarded(lambda: _search(flags.command, flags.gigabytes))


def _search(arguments: list[str], amounts: list[float]) -> None:
    enough = None
    for gigabytes in sorted(amounts, reverse=True):
        status, seconds = run(arguments, gigabytes)
        verdict = "enough" if status == 0 else f"too little (exit status {status})"
        say(f"{gigabytes:g} GiB: {verdict}, {seconds:.0f} s")
        if status:
            break
        enough = gigabytes
    if enough is None:
        raise UserError(f"--gigabytes: not even {max(amounts):g} was enough: give more")
    say(f"{enough:g} GiB are enough")


def run(arguments: list[str], gigabytes: float) -> tuple[int, float]:
    """Runs cifsel.main with so much memory. Returns exit status and seconds.

    Raises:
      UserError: this process may not create a control group.
    """
    version_1 = (GROUPS / "memory").is_dir()
    group = (GROUPS / "memory" if version_1 else GROUPS) / "cifsel-least-memory"
    limits = (
        ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        if version_1
        else ("memory.max", "memory.swap.max")
    )
    # Version 1 counts memory and swap together.
    swap = int(gigabytes * 2**30) if version_1 else 0
    workdir = Path(tempfile.mkdtemp(prefix="cifsel-"))
    try:
        group.mkdir(exist_ok=True)
        (group / limits[0]).write_text(str(int(gigabytes * 2**30)))
        if (group / limits[1]).exists():  # Absent on kernels without swap.
            (group / limits[1]).write_text(str(swap))
        begun = time.monotonic()
        line = [sys.executable, "-m", "cifsel.main"]
        line += [argument.replace("WORKDIR", str(workdir / "run")) for argument in arguments]
        enter = 'echo $$ > "$0" && exec "$@"'
        done = subprocess.run(
            ["sh", "-c", enter, str(group / "cgroup.procs"), *line],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        seconds = time.monotonic() - begun
        group.rmdir()
    except OSError as error:
        raise UserError(f"{group}: {error.strerror}: run this as root, on Linux") from error
    finally:
        shutil.rmtree(workdir)
    return done.returncode, seconds


if __name__ == "__main__":
    main()
