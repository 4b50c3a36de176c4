"""Runs one peer, model and size in a process of its own.

    python -m experiments.bench.worker PEER MODEL SIZE BATCH DTYPE

Each line on stdin names a kind of work. The answer is a line of JSON: seconds, page faults, and the
peak of the memory of the process so far, in 1e9 bytes.
"""

import json
import resource
import sys
import time

from cifsel.config import Parser
from experiments.bench import work


def main(peer: str, model: str, size: int, batch: int, dtype: str) -> None:
    """Answers until stdin ends."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # Libraries must not print among the answers.
    kinds = work.PEERS[peer](model, size, batch, dtype)
    answer: dict[str, float] = {}  # The first answer says that the models are built.
    while True:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        line = sys.stdin.readline()
        if not line:
            return
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        began = time.perf_counter()
        kinds[line.strip()]()
        seconds = time.perf_counter() - began
        usage = resource.getrusage(resource.RUSAGE_SELF)
        answer = {
            "seconds": seconds,
            "page_faults": usage.ru_minflt - faults,
            "peak_gigabytes": usage.ru_maxrss / 1e6,
        }


if __name__ == "__main__":
    parser = Parser("experiments.bench.worker", __doc__)
    for name in ("peer", "model", "size", "batch", "dtype"):
        parser.add_argument(
            name, metavar=name.upper(), type=int if name in ("size", "batch") else str
        )
    main(**vars(parser.parse_args()))
