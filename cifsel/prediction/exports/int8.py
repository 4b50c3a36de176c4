"""ONNX with int8 weights, whose activations onnxruntime quantises while it runs.

Only matrix products are quantised, which have nearly all weights, each column by its own scale.
"""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Float

from cifsel import build
from cifsel.errors import UserError
from cifsel.prediction.exports import extras, onnx_format
from cifsel.prediction.exports.metadata import Metadata
from cifsel.prediction.exports.source import Source
from cifsel.prediction.trained_model import TrainedModel
from cifsel.runtime.bars import image_bar

# The largest loss of validation accuracy, as a share of the images.
MAX_LOSS = 0.003
_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Quantised:
    """A quantised file, with the accuracies on validation images before and after."""

    content: bytes
    before: float
    after: float
    images: int


def quantize(content: bytes, source: Source, metadata: Metadata) -> Quantised:
    """Does `measure`, and refuses a file that answers worse.

    Raises:
      UserError: as `measure`, or the accuracy falls by `MAX_LOSS` or more.
    """
    made = measure(content, source, metadata)
    if made.before - made.after >= MAX_LOSS:
        raise UserError(
            f"--quantize=int8 lowers the accuracy on {made.images:,} validation images from"
            f" {100 * made.before:.1f} to {100 * made.after:.1f} %, by {100 * MAX_LOSS:g} points or"
            " more: nothing was written; leave --quantize out"
        )
    return made


def measure(content: bytes, source: Source, metadata: Metadata) -> Quantised:
    """Quantises an ONNX file, and measures what it costs.

    Args:
      content: as `onnx_format.convert` returns it.
      source: of the file.
      metadata: is put into the new file.

    Raises:
      UserError: the run's validation images cannot be had.
    """
    images, labels = _validation(source)
    quantised = _quantised(content, metadata)
    before, after = (_accuracy(file, images, labels) for file in (content, quantised))
    return Quantised(quantised, before, after, len(labels))


def _validation(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels that the run was chosen on."""
    trained = source.trained
    if not isinstance(trained, TrainedModel):
        raise UserError(
            "--quantize=int8 is measured on validation images, and a classifier of own photos has"
            " none: leave --quantize out"
        )
    try:
        dataset = build.dataset(trained.config)
    except UserError as error:
        raise UserError(
            f"--quantize=int8 is measured on the run's validation images, which cannot be had"
            f" ({error}): leave --quantize out"
        ) from error
    if dataset.fingerprint != trained.fingerprint:
        raise UserError(
            "--quantize=int8 is measured on the run's validation images, but the data are others"
            " now: leave --quantize out"
        )
    return np.asarray(dataset.val.images[:]), dataset.val.labels


def _quantised(content: bytes, metadata: Metadata) -> bytes:
    onnx = extras.load("onnx", "onnx")
    quantization = extras.load("onnxruntime.quantization", "onnx")
    with tempfile.TemporaryDirectory() as folder, extras.quiet():
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        _fold(content, before)
        quantization.quantize_dynamic(
            before,
            after,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
        )
        return onnx_format.with_metadata(onnx.load(after), metadata)


def _fold(content: bytes, target: Path) -> None:
    """Computes what does not depend on the images, such as kernels times batch norm's scales.

    Only what is stored in a file can be quantised.
    """
    onnxruntime = extras.load("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _accuracy(content: bytes, images: np.ndarray, labels: np.ndarray) -> float:
    answers, right = onnx_format.answers(content), 0
    with image_bar("validation images") as bar:
        task = bar.add_task("validation images", total=len(labels))
        for start in range(0, len(labels), _BATCH):
            batch = slice(start, start + _BATCH)
            probabilities: Float[np.ndarray, "b k"] = answers(np.asarray(images[batch]))
            right += int((probabilities.argmax(1) == labels[batch]).sum())
            bar.update(task, completed=min(start + _BATCH, len(labels)))
    return right / len(labels)
