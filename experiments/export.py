"""Measures exports: how closely they answer as cifsel.predict does, their sizes and speed.

    python -m experiments.export --checkpoint=/tmp/effnet --checkpoint=/tmp/selfie \
        --faces=FOLDER --output=/tmp/exports

Each checkpoint is exported in each format, and asked about the photos of FOLDER and 200 test images
of CIFAR-100. The first checkpoint is of a run on CIFAR-100. Each gets a record in
results/export/NAME.json, by the name of its folder. --part=formats, int8, files or speed measures
that alone, into the same records. int8 and speed read the ONNX files of the first.
"""

import argparse
import dataclasses
import datetime
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cifsel.config import Parser, local_path, path
from cifsel.errors import UserError
from cifsel.runtime import command, terminal
from experiments import RESULTS

RECORDS = RESULTS / "export"
IMAGES = 200
_BATCH, _REPEATS = 4, 15


def run(flags: argparse.Namespace) -> None:
    """Exports and compares all checkpoints."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    from cifsel.prediction.exports import source
    from cifsel.runtime import cache

    cache.keep_compiled()
    flags.output.mkdir(parents=True, exist_ok=True)
    photos: dict[str, list[np.ndarray]] = {}
    for folder in flags.checkpoint:
        restored = source.load(folder)
        target = RECORDS / f"{Path(folder).name}.json"
        file = flags.output / f"{target.stem}.onnx"
        record = json.loads(target.read_text()) if target.exists() else {}
        if flags.part in (None, "formats"):
            photos = photos or {"faces": _faces(flags.faces), "cifar": _cifar(restored)}
            record = _compared(restored, photos, file)
        if flags.part in (None, "int8"):
            record["int8"] = _int8(restored, file)
        if flags.part in (None, "files"):
            record["model_files"] = _model_files(restored, folder)
        if flags.part in (None, "speed"):
            record["speed"] = _speed(restored, file)
        RECORDS.mkdir(exist_ok=True)
        target.write_text(json.dumps(record, indent=1) + "\n")
        terminal.answer(f"{target.name}: {json.dumps(record)}")


def _compared(restored: Any, photos: dict[str, list[np.ndarray]], file: Path) -> dict[str, Any]:
    """The record of a checkpoint, without int8 and speed. Writes the ONNX file for them."""
    from cifsel.prediction.exports import formats, onnx_format
    from cifsel.workdir import provenance

    made = restored.predictor
    shown = {name: made.show(images, [""] * len(images)) for name, images in photos.items()}
    expected = {name: made.probabilities(images) for name, images in shown.items()}
    rows = []
    for form in formats.FORMATS:
        start = time.monotonic()
        export, answers = formats.made(restored, form)
        row: dict[str, Any] = {
            "format": form,
            "bytes": len(export.content),
            "seconds": time.monotonic() - start,
        }
        for name, images in shown.items():
            batches = np.array_split(images, -(-len(images) // _BATCH))
            given = np.concatenate([answers(batch) for batch in batches])
            row[name] = {
                "images": len(images),
                "largest_difference": float(np.abs(given - expected[name]).max()),
                "same_answers": int((given.argmax(1) == expected[name].argmax(1)).sum()),
            }
        rows.append(row)
        if form == "onnx":
            file.write_bytes(export.content)
        terminal.answer(json.dumps(row))
    return {
        "environment": dataclasses.asdict(provenance.environment()),
        "date": datetime.date.today().isoformat(),
        "model": restored.name_of_model,
        "task": made.task,
        "size": restored.trained.view.image_size,
        "opset": onnx_format.OPSET,
        "formats": rows,
    }


def _int8(restored: Any, file: Path) -> dict[str, Any] | None:
    """Accuracy and size before and after quantisation. None without validation images."""
    from cifsel.prediction.exports import int8, metadata

    try:
        described = metadata.of(restored, "onnx")
        measured = int8.measure(file.read_bytes(), restored, described)
    except UserError as error:
        terminal.answer(str(error))
        return None
    return {
        "images": measured.images,
        "before": measured.before,
        "after": measured.after,
        "bytes": len(measured.content),
    }


def _model_files(restored: Any, folder: str) -> list[dict[str, Any]]:
    """Sizes and answers of the model files of a run of task 1, in float16 and int8."""
    from cifsel.prediction import predictor, restoring
    from cifsel.prediction.exports import cifsel_format
    from cifsel.workdir import model_file

    if restored.predictor.task != predictor.TASK1:
        return []
    # The loss by int8 is measured here. Without this limit, the export refuses int8.
    cifsel_format.MAX_LOSS = 1.0
    images = np.stack(_cifar(restored))
    expected, rows = restored.predictor.probabilities(images), []
    for weights in (model_file.FLOAT16, model_file.INT8):
        content = cifsel_format.make(restored, folder, weights).content
        file = model_file.parse(content, weights)
        given = predictor.of(restoring.from_file(file)).probabilities(images)
        rows.append(
            {
                "weights": weights,
                "bytes": len(content),
                **file.facts.record["rounding"],
                "asked": len(images),
                "largest_difference": float(np.abs(given - expected).max()),
                "same_answers": int((given.argmax(1) == expected.argmax(1)).sum()),
            }
        )
        terminal.answer(json.dumps(rows[-1]))
    return rows


def _speed(restored: Any, file: Path) -> dict[str, Any]:
    """Seconds of forward passes of a batch, in turns, each the median of all turns."""
    from cifsel.prediction.exports import onnx_format, parity

    answers = onnx_format.answers(file.read_bytes())
    images = parity.images_for_check(restored.predictor.size)[:_BATCH]
    passes: dict[str, Callable[[np.ndarray], Any]] = {
        "predict": restored.predictor.probabilities,
        "onnxruntime": answers,
    }
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for turn in range(_REPEATS + 2):
        for name, forward in passes.items():
            start = time.perf_counter()
            forward(images)
            if turn >= 2:  # The first ones compile.
                seconds[name].append(time.perf_counter() - start)
    medians = {name: float(np.median(values)) / _BATCH for name, values in seconds.items()}
    return {"seconds_per_image": medians, "batch": _BATCH}


def _faces(folder: Path) -> list[np.ndarray]:
    from cifsel.data.photos.decoding import decode

    files = sorted(folder.rglob("*.jpg"))
    return [decode(file, file.name).pixels for file in files]


def _cifar(restored: Any) -> list[np.ndarray]:
    """Test images of the run on CIFAR-100."""
    from cifsel import build

    images = build.dataset(restored.trained.config).test.images
    return list(np.asarray(images[:: max(1, len(images) // IMAGES)][:IMAGES]))


def main() -> None:
    """Parses the command line and runs all."""
    parser = Parser("experiments.export", __doc__)
    add = parser.add_argument
    add("--checkpoint", required=True, action="append", type=path, metavar="DIR", help="a workdir")
    add("--faces", required=True, type=local_path, metavar="FOLDER", help="JPEG photos")
    add("--output", required=True, type=local_path, metavar="DIR", help="for the exports")
    add("--part", choices=("formats", "int8", "files", "speed"), help="measure that alone")
    flags = parser.parse_args()
    command.start_terminal()
    command.guarded(lambda: run(flags))


if __name__ == "__main__":
    main()
