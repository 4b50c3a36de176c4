"""The table of the threshold from which on labels are suspected, and what people said of them."""

from typing import Any

from experiments.tables import records
from experiments.tables.markdown import interval, percent, table
from experiments.tables.task1_runs import MODELS


def counts() -> str:
    """One row per threshold, and what the choice of a half is worth on the other."""
    record = records.read("label_doubts")
    rows = []
    for row in record["thresholds"]:
        if not row["looked_at"]:
            continue
        share = percent(row["rejected"] / row["looked_at"], 0)
        chosen = ", chosen" if row["threshold"] == record["chosen"] else ""
        rows.append(
            (
                f"{percent(row['threshold'], 0)}{chosen}",
                str(row["suspects"]),
                str(row["looked_at"]),
                str(row["rejected"]),
                share,
                interval(*row["interval"]),
            )
        )
    header = ("from", "labels to doubt", "looked at", "rejected", "share", "95 % interval")
    everything = record["all"]
    words = (
        f"On the other halves, people rejected {percent(record['share_on_other_halves'], 0)} of the"
        f" labels to doubt that they looked at. Of all {everything['looked_at']:,} test images that"
        f" they looked at, they rejected {percent(everything['share'], 0)}."
    )
    return f"{table(header, rows)}\n\n{words} {_accuracies(record)}"


def _accuracies(record: dict[str, Any]) -> str:
    sentences = []
    for run in record["runs"]:
        usual, without = run["accuracy"], run["accuracy_without_rejected"]
        sentences.append(
            f"{MODELS[run['model']]} has {percent(usual['mean'])} of the {record['images']:,} test"
            f" images right, and {percent(without['mean'])} of those whose label people did not"
            " reject."
        )
    return " ".join(sentences)
