"""The tables of task 2: people it has never seen, and faces that are found."""

from collections.abc import Sequence
from typing import Any

from experiments.tables.markdown import percent, table
from experiments.tables.records import read
from experiments.tables.task1_runs import MODELS

_PROTOCOLS = {"average": "average", "choose": "choose", "shuffled": "average, labels shuffled"}


def page() -> str:
    """results/selfie.md."""
    record, faces, tuning = read("selfie_draws"), read("faces"), read("selfie_tuning")
    return f"""# Own photos

Photos are {record["photos"]} faces of {record["groups"]} people, happy or sad. A draw takes as many
of each class. The classifier is made from these photos alone, and tested on all photos of other
people. Weights are ImageNet's, at 224 px. Numbers are means over
{len(record["rows"][0]["draws"])} draws, with the smallest and largest.

    {record["command"]}

{record["finished"][:10]}, commit {str(record["git_commit"])[:7]},
{record["devices"]["processor"]}. [selfie_draws.json](selfie_draws.json) is the record.

## Accuracy by the number of photos

{curve()}

## 24 photos

*Claimed* is the accuracy with each photo of the draw held out, as the report gives it. *Confidence*
is the mean of the highest probability.

{details()}

## The network of task 1

Draws of 24 photos, as above. The network of task 1 is B0, fine-tuned to CIFAR-100's animals and
people. *Average* is the default of task 2, *probe* a linear probe of the last layer alone. The last
column has the mean of the differences to the average, draw by draw. Fine-tuning the last layers was
tried too, and lost (see [LOG.md](../LOG.md)).

    {tuning["command"]}

{tuning["finished"][:10]}, commit {str(tuning["git_commit"])[:7]},
{tuning["devices"]["processor"]}. [selfie_tuning.json](selfie_tuning.json) is the record.

{tuned()}

## Faces that are found

In how many photos a face is found, by `crop=face` and `crop=expression`. Points are compared with
those of the unchanged photo, moved alike, in parts of the distance of the eyes: the median.

    {faces["command"]}

{faces["finished"][:10]}, commit {str(faces["git_commit"])[:7]}. [faces.json](faces.json) is the
record.

{found()}
"""


def curve() -> str:
    """One row per network and crop, with a column for each number of photos."""
    rows = [row for row in _rows() if row["protocol"] == "average"]
    sizes = sorted({row["photos"] for row in rows})
    keys = dict.fromkeys((row["model"], row["crop"]) for row in rows)
    lines = []
    for model, crop in keys:
        own = {row["photos"]: row for row in rows if (row["model"], row["crop"]) == (model, crop)}
        lines.append((MODELS[model], crop, *(_range(own[size], "accuracy") for size in sizes)))
    return table(("model", "crop", *(f"{size} photos" for size in sizes)), lines)


def details() -> str:
    """One row per network, crop and protocol, of draws of 24 photos."""
    lines = []
    for row in _rows():
        if row["photos"] != 24:
            continue
        recalls = [percent(_mean([draw["recalls"][k] for draw in row["draws"]]), 0) for k in (0, 1)]
        lines.append(
            (
                MODELS[row["model"]],
                row["crop"],
                _PROTOCOLS[row["protocol"]],
                _range(row, "accuracy"),
                percent(_mean(_of(row, "claimed"))),
                percent(_mean(_of(row, "confidence"))),
                " and ".join(recalls),
                f"{_mean(_of(row, 'auc')):.3f}",
                f"{_mean(_of(row, 'log_loss')):.3f}",
            )
        )
    head = ("model", "crop", "layers", "accuracy", "claimed", "confidence", "happy and sad")
    return table((*head, "AUC", "log loss"), lines)


def tuned() -> str:
    """One row per backbone, crop and method."""
    rows = read("selfie_tuning")["rows"]
    averages = {
        (row["weights"], row["crop"]): _of(row, "accuracy")
        for row in rows
        if row["method"] == "average"
    }
    lines = []
    for row in rows:
        accuracies = _of(row, "accuracy")
        pairs = zip(accuracies, averages[row["weights"], row["crop"]], strict=True)
        differences = [own - average for own, average in pairs]
        lines.append(
            (
                f"{MODELS[row['model']]}, {row['weights']}",
                row["crop"],
                row["method"],
                str(len(accuracies)),
                _range(row, "accuracy"),
                percent(_mean(_of(row, "confidence"))),
                f"{_mean(_of(row, 'auc')):.3f}",
                f"{_mean(_of(row, 'log_loss')):.3f}",
                "" if row["method"] == "average" else f"{100 * _mean(differences):+.1f} points",
            )
        )
    head = ("model", "crop", "classifier", "draws", "accuracy", "confidence", "AUC", "log loss")
    return table((*head, "to the average"), lines)


def found() -> str:
    """One row per change of the photos."""
    rows = [
        (
            row["change"],
            f"{row['face']} of {row['photos']}",
            f"{row['expression']} of {row['photos']}",
            "" if row["moved"] is None else f"{row['moved']:.2f}",
        )
        for row in read("faces")["rows"]
    ]
    return table(("change", "face", "expression", "points moved"), rows)


def _rows() -> list[dict[str, Any]]:
    return list(read("selfie_draws")["rows"])


def _of(row: dict[str, Any], name: str) -> list[float]:
    return [draw[name] for draw in row["draws"]]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _range(row: dict[str, Any], name: str) -> str:
    values = _of(row, name)
    return f"{percent(_mean(values))} ({100 * min(values):.0f} to {100 * max(values):.0f})"
