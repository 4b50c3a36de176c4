"""The tables of exports: how closely they answer as predict does, their size and speed."""

import json
from pathlib import Path
from typing import Any

from experiments import RESULTS
from experiments.tables.markdown import percent, table
from experiments.tables.task1_runs import MODELS

_TASKS = {"task1": "CIFAR-100", "selfie": "faces"}


def page() -> str:
    """results/export.md."""
    lines = []
    for path in _paths():
        record = json.loads(path.read_text())
        environment = record["environment"]
        devices = environment["devices"]
        lines.append(
            f"- [{path.stem}](export/{path.name}): {record['date']}, commit"
            f" {environment['git_commit'][:7]}, {devices['processor']},"
            f" {devices['cores']} cores: `{environment['command']}`."
            f" {record.get('note', '')}".rstrip()
        )
    return f"""# Exports

Each export is compared with `cifsel.predict` on the 24 faces of task 2 and on 200 test images of
CIFAR-100. Differences are the largest of all probabilities. B0's probe of CIFAR-100 was trained on
few images, since only the differences matter. MobileNet is fine-tuned to all, at 160 px.

{summary()}

{quantised()}
{_of_model_files()}## Speed

Milliseconds per image of `cifsel.predict` and of onnxruntime, in batches of four, in turns.

{speed()}

## Records

{chr(10).join(sorted(set(lines)))}
"""


def summary() -> str:
    """One row per model, task and format."""
    rows = []
    for record in _records():
        for row in record["formats"]:
            faces, cifar = row["faces"], row["cifar"]
            rows.append(
                (
                    *_words(record),
                    row["format"],
                    f"{row['bytes'] / 1e6:.1f} MB",
                    f"{faces['largest_difference']:.1e}",
                    f"{cifar['largest_difference']:.1e}",
                    f"{faces['same_answers'] + cifar['same_answers']} of"
                    f" {faces['images'] + cifar['images']}",
                )
            )
    header = ("model", "trained on", "size", "format", "file", "faces", "CIFAR-100", "same answers")
    return table(header, rows)


def quantised() -> str:
    """One row per model whose int8 form was measured. '' if none was."""
    rows = [
        (
            *_words(record),
            percent(record["int8"]["before"]),
            percent(record["int8"]["after"]),
            f"{record['int8']['bytes'] / 1e6:.1f} MB",
        )
        for record in _records()
        if record.get("int8")
    ]
    if not rows:
        return ""
    header = ("model", "trained on", "size", "float32", "int8", "file")
    words = "Accuracy on the validation images of the run, in ONNX."
    return f"## int8\n\n{words}\n\n{table(header, rows)}\n\n"


def model_files() -> str:
    """One row per model and kind of weights of a model file. '' if none was measured."""
    rows = [
        (
            *_words(record),
            row["weights"],
            f"{row['bytes'] / 1e6:.1f} MB",
            f"{percent(row['before'], 2)} to {percent(row['after'], 2)} of {row['images']:,}",
            f"{row['largest_difference']:.3f}",
            f"{row['same_answers']} of {row['asked']}",
        )
        for record in _records()
        for row in record.get("model_files", ())
    ]
    header = (
        *("model", "trained on", "size", "weights", "file", "validation accuracy"),
        *("largest difference", "same answers"),
    )
    return table(header, rows) if rows else ""


def _of_model_files() -> str:
    words = "Differences are the largest of all probabilities, on test images of CIFAR-100."
    rows = model_files()
    return f"## Model files of cifsel\n\n{words}\n\n{rows}\n\n" if rows else ""


def speed() -> str:
    """One row per model."""
    rows = []
    for record in _records():
        if timed := record.get("speed"):
            seconds = timed["seconds_per_image"]
            cells = [f"{1e3 * seconds[name]:.0f}" for name in ("predict", "onnxruntime")]
            rows.append((*_words(record), *cells))
    return table(("model", "trained on", "size", "predict", "onnxruntime"), rows)


def _words(record: dict[str, Any]) -> tuple[str, str, str]:
    return MODELS[record["model"]], _TASKS[record["task"]], f"{record['size']} px"


def _records() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in _paths()]


def _paths() -> list[Path]:
    return sorted((RESULTS / "export").glob("*.json"))
