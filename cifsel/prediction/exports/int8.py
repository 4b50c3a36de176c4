"""ONNX with int8 weights, whose activations onnxruntime quantises while it runs.

Only matrix products are quantised, which have nearly all weights, each column by its own scale.
"""

import dataclasses
import tempfile
from pathlib import Path

from cifsel.errors import UserError
from cifsel.prediction.exports import extras, onnx_format, validation
from cifsel.prediction.exports.metadata import Metadata
from cifsel.prediction.exports.source import Source

# The largest loss of validation accuracy, as a share of the images.
MAX_LOSS = 0.003


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
    images, labels = validation.images_of(source, "--quantize=int8", "leave --quantize out")
    quantised = _quantised(content, metadata)
    before, after = (
        validation.accuracy(validation.probabilities(onnx_format.answers(file), images), labels)
        for file in (content, quantised)
    )
    return Quantised(quantised, before, after, len(labels))


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
