"""Damaged files of every kind that cifsel reads from elsewhere: each is read, or refused.

    python -m experiments.fuzz --inputs=2000 --seed=0

An input is a whole file of its kind in which up to six times something was flipped, cut off,
inserted, doubled, left out, or replaced by a number that programs stumble over. Each is read in a
child that may take 10 seconds and 4 GB. What ends in anything but a result or a UserError is kept
in --keep, and makes the exit status 1.
"""

import collections
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from cifsel.config import arguments
from cifsel.errors import UserError, one_line
from experiments import whole_files

SECONDS, GIGABYTES, PER_CHILD = 10, 4, 200
VALUES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**32 - 1, 2**62, 2**64 - 1)
NUMBERS = [
    value.to_bytes(size, order)
    for value in VALUES
    for size in (1, 2, 4, 8)
    for order in ("big", "little")
    if value < 256**size
]


def damaged(content: bytes, seed: tuple[int, ...]) -> bytes:
    """The same copy with other bytes for the same seed."""
    rng = np.random.default_rng(seed)
    data = bytearray(content)
    for _ in range(rng.integers(1, 7)):
        at, length = int(rng.integers(len(data) + 1)), int(rng.geometric(0.02))
        piece = data[at : at + length]
        number = NUMBERS[rng.integers(len(NUMBERS))]
        match int(rng.integers(8)):
            case 0:
                data[at : at + 1] = bytes([rng.integers(256)])
            case 1 if rng.random() < 0.2:  # else little would be left of most
                del data[at:]
            case 2:
                data[at:at] = rng.bytes(length)
            case 3:
                data[at:at] = piece * int(rng.integers(1, 40))
            case 4:
                del data[at : at + length]
            case 5:
                data[at : at + length] = rng.bytes(len(piece))
            case _:
                data[at : at + len(number)] = number
    return bytes(data)


def outcome(read: Callable[[Path], object], path: Path) -> str:
    """'read', 'refused', or what went wrong."""
    try:
        read(path)
    except UserError as error:
        said = str(error)
        return "refused" if said and "\n" not in said and "\x1b" not in said else f"says {said!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {one_line(error)}"
    return "read"


def child(file: whole_files.File, numbers: range, seed: int, pipe: int) -> None:
    """Writes the outcome and the seconds of each input to a pipe, a line each."""
    resource.setrlimit(resource.RLIMIT_AS, (GIGABYTES * 2**30,) * 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # C libraries may say what they like.
    for number in numbers:
        file.path.write_bytes(damaged(file.content, (seed, number)))
        signal.alarm(SECONDS)
        began = time.perf_counter()
        said = outcome(file.read, file.path)
        signal.alarm(0)
        os.write(pipe, f"{time.perf_counter() - began:.3f} {said}\n".encode())


def outcomes(file: whole_files.File, inputs: int, seed: int) -> Iterator[tuple[str, float]]:
    """Yields the outcome and the seconds of each input, in order; also of those a child dies of."""
    done = 0
    while done < inputs:
        numbers = range(done, min(done + PER_CHILD, inputs))
        reading, writing = os.pipe()
        if not (process := os.fork()):
            child(file, numbers, seed, writing)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            lines = pipe.read().splitlines()
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        for line in lines:
            seconds, _, said = line.partition(" ")
            yield said, float(seconds)
        done += len(lines)
        if status:
            yield f"died: {signal.Signals(-status).name}", float(SECONDS)
            done += 1


def main() -> None:
    """Tries all kinds, and prints a table."""
    parser = arguments.Parser("experiments.fuzz", __doc__)
    parser.add_argument("--inputs", type=int, default=2000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--keep", type=Path, default=Path("fuzz"), help="gets what went wrong")
    flags = parser.parse_args()
    table = Table("kind", "inputs", "read", "refused", "anything else", "slowest, s")
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, file in whole_files.files(Path(folder)).items():
            problem = outcome(file.read, file.path)
            assert problem == "read", f"{kind}, undamaged: {problem}"
            tally: collections.Counter[str] = collections.Counter()
            slowest = 0.0
            for number, (said, seconds) in enumerate(outcomes(file, flags.inputs, flags.seed)):
                slowest = max(slowest, seconds)
                tally[said if said in ("read", "refused") else "wrong"] += 1
                if said not in ("read", "refused"):
                    flags.keep.mkdir(exist_ok=True)
                    kept = flags.keep / f"{number}-{file.path.name}"
                    kept.write_bytes(damaged(file.content, (flags.seed, number)))
                    wrong.append(f"{kept}: {said}")
            counts = (str(tally[name]) for name in ("read", "refused", "wrong"))
            table.add_row(kind, str(tally.total()), *counts, f"{slowest:.2f}")
    Console().print(table)
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main()
