"""Measures peers in processes of their own that take turns.

A process is stopped while another one works. Otherwise the idle threads of one peer, which spin for
a while before they sleep, would take cores from the next.
"""

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, Self

from experiments.bench import work
from experiments.bench.entries import Entry

WARM_UP = 2  # calls before the timed ones


class Worker:
    """A peer in its own process, which is stopped unless it works.

    Leaving its block ends it.
    """

    def __init__(
        self, peer: str, model: str, size: int, batch: int, dtype: str, *, cache: str
    ) -> None:
        name, _, folder = peer.partition("@")
        arguments = [name, model, str(size), str(batch), dtype]
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "experiments.bench.worker", *arguments],
            cwd=folder or None,  # Python imports from here first.
            env=os.environ | {"JAX_COMPILATION_CACHE_DIR": cache},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Of its own, so that its children stop with it. When this process dies, the system ends
            # a group whose processes are stopped.
            process_group=0,
        )
        self._answer()  # Arrives when the models are built.
        self.start_seconds = time.perf_counter() - began
        self._signal(signal.SIGSTOP)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._signal(signal.SIGCONT)
        self._process.communicate()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def do(self, kind: str) -> dict[str, float]:
        """Does the work once. Returns the answer of worker.py."""
        assert self._process.stdin
        self._signal(signal.SIGCONT)
        self._process.stdin.write(kind + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        self._signal(signal.SIGSTOP)
        return answer

    def _signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process and its children. One that has ended gets none."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

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
) -> list[Entry]:
    """One entry per kind of work and peer."""
    with tempfile.TemporaryDirectory() as cache:  # Later processes load compiled programs.
        repeated = []
        for _ in range(processes):
            with contextlib.ExitStack() as stack:
                workers = {
                    peer: stack.enter_context(Worker(peer, model, size, batch, dtype, cache=cache))
                    for peer in peers
                }
                repeated.append(
                    [
                        entry
                        for kind in work.KINDS
                        for entry in turns(_that_do(kind, workers), kind, rounds)
                    ]
                )
    return [
        combined(same, model=model, size=size, batch=batch, dtype=dtype)
        for same in zip(*repeated, strict=True)
    ]


def _that_do(kind: str, workers: dict[str, Worker]) -> dict[str, Worker]:
    """The workers of the peers that do this kind of work."""
    return {
        peer: worker
        for peer, worker in workers.items()
        if kind in work.ONLY.get(peer.partition("@")[0], work.KINDS)
    }


def turns(workers: dict[str, Worker], kind: str, rounds: int) -> list[dict[str, Any]]:
    """Measurements of one kind of work by each worker, in turns after a warm-up."""
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


def combined(
    repeated: Sequence[dict[str, Any]], *, model: str, size: int, batch: int, dtype: str
) -> Entry:
    """Combines measurements of the same work in several processes."""
    first = repeated[0]
    medians = [statistics.median(measured["seconds"]) for measured in repeated]
    return Entry(
        model=model,
        size=size,
        batch=batch,
        dtype=dtype,
        kind=first["kind"],
        peer=first["peer"],
        seconds=[seconds for measured in repeated for seconds in measured["seconds"]],
        seconds_by_process=medians,
        images_per_second=batch / statistics.median(medians),
        compile_seconds=first["first_seconds"] - medians[0],
        page_faults=statistics.median(measured["page_faults"] for measured in repeated),
        peak_gigabytes=max(measured["peak_gigabytes"] for measured in repeated),
        start_seconds=first["start_seconds"],
    )
