"""Entries of the benchmark's record, and their tables in Markdown."""

import dataclasses
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

# Cost of each kind of work in forward passes. A gradient step costs three: forward, and two
# products per kernel backward.
PASSES = {"forward": 1, "train, fixed BN": 3, "train, trained BN": 3, "pipeline": 0}


@dataclasses.dataclass(frozen=True)
class Machine:
    """The machine and its limits.

    Attributes:
      processor: name of the CPU.
      device: number and kind of JAX devices.
      python: version.
      jax: version.
      matmul_gflops: rate of a large matrix product, 1e9 operations per second.
      copy_gigabytes: rate of reading and writing memory, 1e9 bytes per second.
      forward_gflops: 1e9 operations of a forward pass per image, by model and size.
    """

    processor: str
    device: str
    python: str
    jax: str
    matmul_gflops: float
    copy_gigabytes: float
    forward_gflops: dict[str, dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One kind of work of one peer, in one or more processes.

    Attributes:
      model: as in configs.
      size: pixels per side.
      batch: images per call.
      dtype: of activations.
      kind: one of work.KINDS.
      peer: name, or name@checkout.
      seconds: of each timed call, process after process.
      seconds_by_process: their median in each process.
      images_per_second: batch over the median of seconds_by_process.
      compile_seconds: extra seconds of the first call of the first process.
      page_faults: median per call.
      peak_gigabytes: largest peak of a process, 1e9 bytes.
      start_seconds: from the start of the first process until its models are built.
    """

    model: str
    size: int
    batch: int
    dtype: str
    kind: str
    peer: str
    seconds: list[float]
    seconds_by_process: list[float]
    images_per_second: float
    compile_seconds: float
    page_faults: float
    peak_gigabytes: float
    start_seconds: float


def of(record: dict[str, Any]) -> list[Entry]:
    """The entries of a record."""
    return [Entry(**entry) for entry in record["results"]]


def times_as_fast(ours: Entry, other: Entry) -> tuple[float, float, float]:
    """Ratio of the medians, and that of the slowest and the fastest pair of processes."""
    pairs = zip(other.seconds_by_process, ours.seconds_by_process, strict=True)
    ratios = [theirs / our for theirs, our in pairs]
    return ours.images_per_second / other.images_per_second, min(ratios), max(ratios)


def ratio(ours: Entry, other: Entry) -> str:
    """Ratio with its range over processes, as text."""
    middle, low, high = times_as_fast(ours, other)
    return f"{middle:.2f}" if low == high else f"{middle:.2f} ({low:.2f} to {high:.2f})"


def spread(entry: Entry) -> float:
    """Half the distance between the quartiles of the times, as a share of the median."""
    low, middle, high = statistics.quantiles(entry.seconds, n=4)
    return (high - low) / 2 / middle


def _speed(entry: Entry) -> str:
    """Images per second, and half the distance of their quartiles."""
    speed = entry.images_per_second
    return f"{speed:.0f} ± {speed * spread(entry):.0f}"


def header(peers: Sequence[str]) -> list[str]:
    """Header of the table, in two lines."""
    cells = ["model", "px", "work", *(f"{peer}, images/s" for peer in peers)]
    cells += [f"{peers[0]} / {peer}" for peer in peers[1:]]
    cells += ["of the matrix rate", "compiling, s", "peak, GB"]
    return [f"| {' | '.join(cells)} |", "|" + " --- |" * len(cells)]


def rows(entries: Iterable[Entry], peers: Sequence[str], machine: Machine) -> list[str]:
    """Rows of the table: speeds, ratios to the first peer, share of the matrix rate."""
    by_work: dict[tuple[str, int, int, str], dict[str, Entry]] = {}
    for entry in entries:
        work = entry.model, entry.size, entry.batch, entry.kind
        by_work.setdefault(work, {})[entry.peer] = entry
    lines = []
    for by_peer in by_work.values():
        ours = by_peer[peers[0]]
        needed = machine.forward_gflops[ours.model][str(ours.size)]
        share = PASSES[ours.kind] * needed * ours.images_per_second / machine.matmul_gflops
        cells = [ours.model, str(ours.size), ours.kind]
        # Engines only do the forward pass.
        others = [by_peer.get(peer) for peer in peers]
        cells += [_speed(other) if other else "" for other in others]
        cells += [ratio(ours, other) if other else "" for other in others[1:]]
        cells += [
            f"{100 * share:.0f} %" if share else "",
            f"{ours.compile_seconds:.1f}",
            f"{ours.peak_gigabytes:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
