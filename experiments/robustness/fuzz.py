"""Damages files of every kind that cifsel reads from others and reads them.

    python -m experiments.robustness.fuzz --inputs=2000 --seed=0

An input is a whole file with one to six random changes: bytes are flipped, cut off, inserted,
repeated, left out, or replaced by numbers such as the largest integers. A child process reads each
input within 10 seconds and 4 GB. Each has to be read or refused with a UserError. Any other input
is kept in --keep and makes the exit status 1.
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
from rich.table import Table

from cifsel.config import Parser, local_path
from cifsel.errors import UserError, one_line
from cifsel.runtime import bars, command
from experiments.robustness import whole_files

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
    """A damaged copy of `content`, which depends on the seed alone."""
    rng = np.random.default_rng(seed)
    data = bytearray(content)
    for _ in range(rng.integers(1, 7)):
        at, length = int(rng.integers(len(data) + 1)), int(rng.geometric(0.02))
        piece = data[at : at + length]
        number = NUMBERS[rng.integers(len(NUMBERS))]
        match int(rng.integers(8)):
            case 0:
                data[at : at + 1] = bytes([rng.integers(256)])
            case 1 if rng.random() < 0.2:  # More often would leave most files almost empty.
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
    """'read', 'refused', or a description of the failure."""
    try:
        read(path)
    except UserError as error:
        message = str(error)
        plain = message and "\n" not in message and "\x1b" not in message
        return "refused" if plain else f"says {message!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {one_line(error)}"
    return "read"


def child(file: whole_files.File, numbers: range, seed: int, pipe: int) -> None:
    """Reads damaged inputs. Writes seconds and outcome of each to a pipe, one line per input."""
    resource.setrlimit(resource.RLIMIT_AS, (GIGABYTES * 2**30,) * 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # Hides messages of C libraries.
    for number in numbers:
        file.path.write_bytes(damaged(file.content, (seed, number)))
        signal.alarm(SECONDS)
        began = time.perf_counter()
        result = outcome(file.read, file.path)
        signal.alarm(0)
        os.write(pipe, f"{time.perf_counter() - began:.3f} {result}\n".encode())


def outcomes(file: whole_files.File, inputs: int, seed: int) -> Iterator[tuple[str, float]]:
    """Yields outcome and seconds of each input in order, including inputs that kill the child."""
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
            seconds, _, result = line.partition(" ")
            yield result, float(seconds)
        done += len(lines)
        if status:
            yield f"died: {signal.Signals(-status).name}", float(SECONDS)
            done += 1


def main() -> None:
    """Parses the command line and tries all kinds of files."""
    parser = Parser("experiments.robustness.fuzz", __doc__)
    parser.add_argument("--inputs", type=int, default=2000, help="inputs of each kind")
    parser.add_argument("--seed", type=int, default=0, help="seed of the damage")
    parser.add_argument(
        "--keep", type=local_path, default=Path("fuzz"), help="folder for inputs that failed"
    )
    flags = parser.parse_args()
    command.start_terminal()
    command.guarded(lambda: fuzz(flags.inputs, flags.seed, flags.keep))


def fuzz(inputs: int, seed: int, keep: Path) -> None:
    """Tries all kinds of files, prints a table, and keeps inputs that fail."""
    table = Table("kind", "inputs", "read", "refused", "anything else", "slowest, s")
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, file in whole_files.files(Path(folder)).items():
            problem = outcome(file.read, file.path)
            assert problem == "read", f"{kind}, undamaged: {problem}"
            tally: collections.Counter[str] = collections.Counter()
            slowest = 0.0
            for number, (result, seconds) in enumerate(outcomes(file, inputs, seed)):
                slowest = max(slowest, seconds)
                tally[result if result in ("read", "refused") else "wrong"] += 1
                if result not in ("read", "refused"):
                    keep.mkdir(exist_ok=True)
                    kept = keep / f"{number}-{file.path.name}"
                    kept.write_bytes(damaged(file.content, (seed, number)))
                    wrong.append(f"{kept}: {result}")
            counts = (str(tally[name]) for name in ("read", "refused", "wrong"))
            table.add_row(kind, str(tally.total()), *counts, f"{slowest:.2f}")
    bars.show(table)
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main()
