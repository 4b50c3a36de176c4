"""Times forward passes and training steps beside Keras and PyTorch, in alternation, as ratios.

    python -m experiments.bench --json=bench.json
    python -m experiments.bench --peers cifsel cifsel@/tmp/before    # a checkout before a change

Every peer runs in a process of its own, all of them started by this one, and they take turns
(A B C A B C), one at a time, so that a slow moment of the machine hits all alike. All of that is
done in several new processes: one may be 1.4 times as fast as the next that does the same.
"""

import argparse
import datetime
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cifsel.config import arguments
from experiments.bench import commands, work

WARM_UP = 2
# A gradient step is three passes' worth: forward, and two products per kernel backward.
PASSES = {"forward": 1, "train, fixed BN": 3, "train, trained BN": 3, "pipeline": 0}


class Worker:
    """A peer in its own process."""

    def __init__(
        self, peer: str, model: str, size: int, batch: int, dtype: str, *, cache: str
    ) -> None:
        name, _, folder = peer.partition("@")
        arguments = [name, model, str(size), str(batch), dtype]
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "experiments.bench.worker", *arguments],
            cwd=folder or None,  # Where Python looks first for the code.
            env=os.environ | {"JAX_COMPILATION_CACHE_DIR": cache},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._answer()  # Imported what it needs, and built the models.
        self.start_seconds = time.perf_counter() - began

    def do(self, kind: str) -> dict[str, float]:
        """Does the work once; what worker.py says of it."""
        assert self._process.stdin
        self._process.stdin.write(kind + "\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout and self._process.stderr
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"a worker ended: {self._process.communicate()[1][-2000:]}")
        return json.loads(line)


def measure(
    peers: list[str],
    model: str,
    size: int,
    batch: int,
    *,
    dtype: str,
    rounds: int,
    processes: int,
) -> list[dict[str, Any]]:
    """One entry per kind of work and peer."""
    with tempfile.TemporaryDirectory() as cache:  # What is compiled is compiled once.
        repeated = []
        for _ in range(processes):
            workers = {peer: Worker(peer, model, size, batch, dtype, cache=cache) for peer in peers}
            repeated.append(
                [entry for kind in work.KINDS for entry in turns(workers, kind, rounds)]
            )
            for worker in workers.values():
                worker.end()
    about = {"model": model, "size": size, "batch": batch, "dtype": dtype}
    return [about | together(entries, batch) for entries in zip(*repeated, strict=True)]


def turns(workers: dict[str, Worker], kind: str, rounds: int) -> list[dict[str, Any]]:
    """What each worker says of one kind of work, done in turns after a warm-up."""
    first = {peer: worker.do(kind) for peer, worker in workers.items()}
    for _ in range(WARM_UP - 1):
        for worker in workers.values():
            worker.do(kind)
    times: dict[str, list[dict[str, float]]] = {peer: [] for peer in workers}
    for _ in range(rounds):
        for peer, worker in workers.items():
            times[peer].append(worker.do(kind))
    return [
        {
            "kind": kind,
            "peer": peer,
            "seconds": [answer["seconds"] for answer in answers],
            "first_seconds": first[peer]["seconds"],
            "page_faults": statistics.median(answer["page_faults"] for answer in answers),
            "peak_gigabytes": answers[-1]["peak_gigabytes"],
            "start_seconds": workers[peer].start_seconds,
        }
        for peer, answers in times.items()
    ]


def together(entries: tuple[dict[str, Any], ...], batch: int) -> dict[str, Any]:
    """One entry for the same work in several processes."""
    first = entries[0]
    medians = [statistics.median(entry["seconds"]) for entry in entries]
    return {
        "kind": first["kind"],
        "peer": first["peer"],
        "seconds": [seconds for entry in entries for seconds in entry["seconds"]],
        "seconds_by_process": medians,
        "images_per_second": batch / statistics.median(medians),
        # What the first call of the first process takes longer is compiling.
        "compile_seconds": first["first_seconds"] - medians[0],
        "page_faults": statistics.median(entry["page_faults"] for entry in entries),
        "peak_gigabytes": max(entry["peak_gigabytes"] for entry in entries),
        "start_seconds": first["start_seconds"],
    }


def table(entries: list[dict[str, Any]], peers: list[str], machine: dict[str, Any]) -> list[str]:
    """Markdown rows: images per second of each peer, ratios, and the share of the matrix rate."""
    rows = []
    for entry in (entry for entry in entries if entry["peer"] == peers[0]):
        same = {
            other["peer"]: other
            for other in entries
            if all(other[key] == entry[key] for key in ("model", "size", "batch", "kind"))
        }
        speeds = [same[peer]["images_per_second"] for peer in peers]
        ratios = [ratio(same[peers[0]], same[peer]) for peer in peers[1:]]
        needed = machine["forward_gflops"][entry["model"]][str(entry["size"])]
        share = PASSES[entry["kind"]] * needed * speeds[0] / machine["matmul_gflops"]
        spread = [
            f"{speed:.0f} ± {speed * spread_of(same[peer]):.0f}"
            for peer, speed in zip(peers, speeds, strict=True)
        ]
        cells = [
            entry["model"],
            str(entry["size"]),
            entry["kind"],
            *spread,
            *ratios,
            f"{100 * share:.0f} %" if share else "",
            f"{entry['compile_seconds']:.1f}",
            f"{entry['peak_gigabytes']:.1f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def ratio(ours: dict[str, Any], other: dict[str, Any]) -> str:
    """How many times as fast, by the medians, and where it lies process by process."""
    middle, low, high = times_as_fast(ours, other)
    return f"{middle:.2f}" if low == high else f"{middle:.2f} ({low:.2f} to {high:.2f})"


def times_as_fast(ours: dict[str, Any], other: dict[str, Any]) -> tuple[float, float, float]:
    """By the medians, and in the slowest and the fastest pair of processes that took turns."""
    pairs = zip(other["seconds_by_process"], ours["seconds_by_process"], strict=True)
    found = [theirs / our for theirs, our in pairs]
    return ours["images_per_second"] / other["images_per_second"], min(found), max(found)


def spread_of(entry: dict[str, Any]) -> float:
    """Half the distance between the quartiles of the times, as a share of the median."""
    low, middle, high = statistics.quantiles(entry["seconds"], n=4)
    return (high - low) / 2 / middle


def header(peers: list[str]) -> list[str]:
    """Of the table."""
    cells = ["model", "px", "work", *(f"{peer}, images/s" for peer in peers)]
    cells += [f"{peers[0]} / {peer}" for peer in peers[1:]]
    cells += ["of the matrix rate", "compiling, s", "peak, GB"]
    return [f"| {' | '.join(cells)} |", "|" + " --- |" * len(cells)]


def peer(text: str) -> str:
    """A name, or cifsel@FOLDER for the code of a checkout, whose path is made absolute.

    Raises:
      argparse.ArgumentTypeError: There is no such peer, or no code in the folder.
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
    made = arguments.Parser("experiments.bench", __doc__)
    add = made.add_argument
    there = [p for p in work.PEERS if importlib.util.find_spec(work.NEEDS[p])]
    add(
        "--peers",
        nargs="+",
        default=there,
        type=peer,
        metavar="PEER",
        help=f"which; the first is rated: {', '.join(work.PEERS)}, or cifsel@ and a checkout",
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
    add("--rounds", type=int, default=7, metavar="N", help="calls of each process that count")
    add("--processes", type=int, default=3, metavar="N", help="how often, in new processes")
    add("--json", type=Path, help="write everything measured there")
    return made


def main() -> None:
    """Measures and prints."""
    flags = parser().parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sizes = map(str, flags.sizes)
    command = [sys.executable, "-m", "experiments.bench.machine", flags.dtype, *sizes]
    machine = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    print(
        f"{machine['processor']}, {os.cpu_count()} cores, jax {machine['jax']}:"
        f" {flags.dtype} matrix product {machine['matmul_gflops']:.0f} GFLOP/s,"
        f" memory {machine['copy_gigabytes']:.0f} GB/s;"
        f" batches of {flags.batch}, medians of {flags.processes} times {flags.rounds}"
        " and half their quartiles' distance"
    )
    print("\n".join(header(flags.peers)), flush=True)
    about = {"date": datetime.date.today().isoformat(), "command": sys.argv[1:], "machine": machine}
    results: dict[str, list[dict[str, Any]]] = {"results": [], "commands": []}

    def keep() -> None:  # As it goes: what is measured stays when it is stopped.
        if flags.json:
            flags.json.write_text(json.dumps(about | results, indent=1) + "\n")

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
            print("\n".join(table(measured, flags.peers, machine)), flush=True)
            results["results"] += measured
            keep()
    starts = {entry["peer"]: f"{entry['start_seconds']:.1f} s" for entry in results["results"]}
    print("imported and built after:", ", ".join(f"{peer} {s}" for peer, s in starts.items()))
    results["commands"] = commands.measure()
    print("\n".join(commands.table(results["commands"])))
    keep()


if __name__ == "__main__":
    main()
