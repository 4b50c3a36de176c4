"""One peer, model and size in a process of its own: does the work asked for on stdin.

    python -m experiments.bench.worker PEER MODEL SIZE BATCH DTYPE

Each line of stdin is a kind of work, each answer a line of JSON: seconds, pages the system had to
find for it, and the peak of the process's memory so far.
"""

import json
import resource
import sys
import time

from experiments.bench import work


def main(peer: str, model: str, size: int, batch: int, dtype: str) -> None:
    """Answers until stdin ends."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # Nothing that a library prints may look like an answer.
    kinds = work.PEERS[peer](model, size, batch, dtype)
    answer: dict[str, float] = {}  # Ready, and nothing measured yet.
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
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
