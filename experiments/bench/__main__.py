"""Times forward passes and training steps beside Keras and PyTorch.

    python -m experiments.bench --json=bench.json
    python -m experiments.bench --peers cifsel cifsel@/tmp/before    # a checkout before a change

Every peer runs in a process of its own. The processes take turns (A B C A B C), so that a slow
moment of the machine slows all of them alike. Everything is repeated in several new processes,
since equal processes may differ in speed.
"""

import argparse
import dataclasses
import datetime
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cifsel.config import Parser, local_path
from cifsel.runtime import command
from experiments.bench import commands, work
from experiments.bench.entries import Entry, Machine, header, rows
from experiments.bench.measure import measure


def peer(text: str) -> str:
    """A name, or cifsel@FOLDER for the code of a checkout. Makes the path absolute.

    Raises:
      argparse.ArgumentTypeError: there is no such peer, or no code in the folder.
    """
    name, at, folder = text.partition("@")
    if name not in work.PEERS or (at and name != "cifsel"):
        raise argparse.ArgumentTypeError(f"{text}: give one of {', '.join(work.PEERS)}")
    if not at:
        return name
    path = Path(folder).resolve()
    if not (path / "experiments/bench/worker.py").exists():
        raise argparse.ArgumentTypeError(
            f"{text}: {path} has no experiments/bench/worker.py: give a checkout of this repository"
        )
    return f"{name}@{path}"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command_line = Parser("experiments.bench", __doc__)
    add = command_line.add_argument
    installed = [name for name in work.PEERS if importlib.util.find_spec(work.NEEDS[name])]
    add(
        "--peers",
        nargs="+",
        default=installed,
        type=peer,
        metavar="PEER",
        help=f"the first against the rest, of {', '.join(work.PEERS)}, or cifsel@ and a checkout",
    )
    add(
        "--models",
        nargs="+",
        default=list(work.MODELS),
        choices=work.MODELS,
        metavar="MODEL",
        help=f"which: {', '.join(work.MODELS)}",
    )
    add("--sizes", nargs="+", type=int, default=[96, 128, 224], metavar="PX", help="pixels")
    add("--batch", type=int, default=32, metavar="N", help="images per call")
    add("--dtype", default="float32", choices=("float32", "bfloat16"), help="of activations")
    add("--rounds", type=int, default=7, metavar="N", help="timed calls of each process")
    add("--processes", type=int, default=3, metavar="N", help="repetitions in new processes")
    add("--json", type=local_path, help="write all measurements there")
    return command_line


def measured_machine(dtype: str, sizes: Sequence[int]) -> Machine:
    """Limits of this machine, measured in a process of its own."""
    command = [sys.executable, "-m", "experiments.bench.machine", dtype, *map(str, sizes)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return Machine(**json.loads(printed))


def save(
    path: Path, machine: Machine, entries: list[Entry], timings: list[commands.Timing]
) -> None:
    """Writes the record."""
    record = {
        "date": datetime.date.today().isoformat(),
        "command": sys.argv[1:],
        "machine": dataclasses.asdict(machine),
        "results": [dataclasses.asdict(entry) for entry in entries],
        "commands": [dataclasses.asdict(timing) for timing in timings],
    }
    path.write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    """Parses the command line and measures."""
    flags = parser().parse_args()
    command.start_terminal()
    command.guarded(lambda: benchmark(flags))


def benchmark(flags: argparse.Namespace) -> None:
    """Measures, prints tables, and writes the record."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    machine = measured_machine(flags.dtype, flags.sizes)
    print(
        f"{machine.processor}, {os.cpu_count()} cores, jax {machine.jax}:"
        f" {flags.dtype} matrix product {machine.matmul_gflops:.0f} GFLOP/s,"
        f" memory {machine.copy_gigabytes:.0f} GB/s;"
        f" batches of {flags.batch}, medians of {flags.processes} times {flags.rounds}"
        " and half their quartiles' distance"
    )
    print("\n".join(header(flags.peers)), flush=True)
    entries: list[Entry] = []
    for model in flags.models:
        for size in flags.sizes:
            measured = measure(
                flags.peers,
                model,
                size,
                flags.batch,
                dtype=flags.dtype,
                rounds=flags.rounds,
                processes=flags.processes,
            )
            print("\n".join(rows(measured, flags.peers, machine)), flush=True)
            entries += measured
            if flags.json:  # Saved here too, so that an interrupted benchmark keeps its results.
                save(flags.json, machine, entries, [])
    starts = {entry.peer: f"{entry.start_seconds:.1f} s" for entry in entries}
    print("imported and built after:", ", ".join(f"{peer} {s}" for peer, s in starts.items()))
    timings = commands.measure()
    print("\n".join(commands.table(timings)))
    if flags.json:
        save(flags.json, machine, entries, timings)


if __name__ == "__main__":
    main()
