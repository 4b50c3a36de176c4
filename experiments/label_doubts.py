"""Chooses from which probability on the label of a test image is suspected to be wrong.

    python -m experiments.label_doubts RUN RUN --reviewed=CSV

RUNs are finished runs, and CSV is what people said of labels, as docs/compare.md describes it. A
label is suspected if all runs give one and the same other class, with a mean probability of at
least a threshold. The test images are divided into two halves at random, 100 times. On one half,
the lowest threshold is chosen with which people reject at least half of the suspected labels that
they looked at. The other half says what it is worth. The median of the 100 is the threshold of
cifsel.compare, `label_errors.MIN_PROBABILITY`.
"""

import argparse
import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from cifsel.config import Parser, local_path, path
from cifsel.runtime import command, terminal
from experiments import RESULTS

RECORD = RESULTS / "label_doubts.json"
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(6, 20))
HALVES = 100
WANTED = 0.5  # share of rejected labels
LEAST = 5  # images that people looked at, for a share to say something


@dataclasses.dataclass(frozen=True, eq=False)
class Suspects:
    """Test images on which all runs agree on one wrong class, by what people said of the label.

    Attributes:
      position: of the image among the test images.
      probability: of the class, mean over the runs.
      looked_at: people looked at the image.
      rejected: people did not confirm its label.
    """

    position: Int[np.ndarray, " n"]
    probability: Float[np.ndarray, " n"]
    looked_at: Bool[np.ndarray, " n"]
    rejected: Bool[np.ndarray, " n"]

    def counts(self, threshold: float, among: Bool[np.ndarray, " images"]) -> tuple[int, int, int]:
        """How many are suspected among some images, looked at, and rejected."""
        kept = (self.probability >= threshold) & among[self.position]
        flags = (kept, kept & self.looked_at, kept & self.rejected)
        return int(flags[0].sum()), int(flags[1].sum()), int(flags[2].sum())


def choose(suspects: Suspects, among: Bool[np.ndarray, " images"]) -> float:
    """The lowest threshold with which people reject at least the wanted share of labels.

    The highest threshold if there is none.
    """
    for threshold in THRESHOLDS:
        _, looked_at, rejected = suspects.counts(threshold, among)
        if looked_at >= LEAST and rejected >= WANTED * looked_at:
            return threshold
    return THRESHOLDS[-1]


def over_halves(suspects: Suspects, images: int) -> dict[str, Any]:
    """Chooses on one half and counts on the other, `HALVES` times."""
    chosen, looked_at, rejected = [], 0, 0
    for seed in range(HALVES):
        first = np.random.default_rng(seed).permutation(images) < images // 2
        chosen.append(choose(suspects, first))
        _, more_looked_at, more_rejected = suspects.counts(chosen[-1], ~first)
        looked_at, rejected = looked_at + more_looked_at, rejected + more_rejected
    return {
        "halves": HALVES,
        "wanted": WANTED,
        "chosen": float(np.quantile(chosen, 0.5, method="lower")),
        "times_chosen": {f"{t:g}": count for t, count in sorted(Counter(chosen).items())},
        "share_on_other_halves": rejected / max(1, looked_at),
    }


def record(runs: Sequence[Any], review: Any) -> dict[str, Any]:
    """Content of the record: accuracies, the choice, and the counts of every threshold.

    Args:
      runs: as `comparison.read_run` returns them.
      review: as `comparison.reviewed.match` returns it.
    """
    from cifsel.comparison import reviewed
    from cifsel.comparison.label_errors import find_label_errors
    from cifsel.comparison.paired import accuracy
    from cifsel.evaluation import scoring
    from cifsel.workdir import provenance

    labels = runs[0].labels["test"]
    errors = find_label_errors([scoring.softmax(run.logits["test"]) for run in runs], labels, 0.0)
    position = np.array([error.position for error in errors], np.int64)
    suspects = Suspects(
        position,
        np.array([error.probability for error in errors]),
        review.looked_at[position],
        review.rejected[position],
    )
    everything, rows = np.ones(len(labels), bool), []
    for threshold in THRESHOLDS:
        found, looked_at, rejected = suspects.counts(threshold, everything)
        row: dict[str, Any] = {"threshold": threshold, "suspects": found}
        row |= {"looked_at": looked_at, "rejected": rejected}
        if looked_at:
            row["interval"] = scoring.wilson(rejected, looked_at)
        rows.append(row)
    return {
        "environment": dataclasses.asdict(provenance.environment()),
        "runs": [
            {
                "model": run.metrics.model,
                "command": run.metrics.provenance.command,
                "accuracy": dataclasses.asdict(accuracy(run.right("test")[None])),
                "accuracy_without_rejected": dataclasses.asdict(
                    accuracy(run.right("test")[None][:, ~review.rejected])
                ),
            }
            for run in runs
        ],
        "images": len(labels),
        "all": dataclasses.asdict(
            reviewed.rejected_share(review, np.flatnonzero(review.looked_at))
        ),
        **over_halves(suspects, len(labels)),
        "thresholds": rows,
    }


def run(flags: argparse.Namespace) -> None:
    """Reads the runs and the file, chooses, and writes the record."""
    from cifsel.comparison import reviewed
    from cifsel.comparison.candidates import group_into_candidates
    from cifsel.comparison.runs import read_run

    rows = reviewed.read(flags.reviewed)
    runs = [read_run(folder) for folder in flags.runs]
    group_into_candidates(runs)  # Refuses runs that saw other images.
    review = reviewed.match(
        rows,
        flags.reviewed,
        ids=runs[0].ids["test"],
        labels=runs[0].labels["test"],
        class_names=runs[0].class_names,
    )
    made = record(runs, review)
    Path(flags.json).write_text(json.dumps(made, indent=1) + "\n")
    terminal.answer(json.dumps({name: made[name] for name in ("chosen", "times_chosen")}))


def main() -> None:
    """Parses the command line and runs all."""
    parser = Parser("experiments.label_doubts", __doc__)
    add = parser.add_argument
    add("runs", nargs="+", type=path, metavar="RUN", help="workdir of a finished run")
    add("--reviewed", required=True, type=path, metavar="CSV", help="what people said of labels")
    add("--json", default=RECORD, type=local_path, metavar="FILE", help="of the record")
    flags = parser.parse_args()
    command.start_terminal()
    command.guarded(lambda: run(flags))


if __name__ == "__main__":
    main()
