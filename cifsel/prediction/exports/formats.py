"""Makes the export of a format, and checks it against the predictor."""

import dataclasses

from cifsel.errors import UserError
from cifsel.prediction.exports import (
    computation,
    int8,
    keras_layout,
    metadata,
    onnx_format,
    parity,
    stablehlo,
)
from cifsel.prediction.exports.output import Export
from cifsel.prediction.exports.parity import Answers
from cifsel.prediction.exports.source import Source

FORMATS = ("onnx", "stablehlo", "keras", "tflite")


def make(source: Source, form: str, *, quantize: bool = False) -> Export:
    """Converts a model, and compares what its file answers with the predictor.

    Args:
      source: the model.
      form: one of FORMATS, or 'keras-h5' for the weights of the backbone alone.
      quantize: use int8 weights, for 'onnx'.

    Raises:
      UserError: a package is missing, the format does not have the model, or the answers differ.
    """
    described = metadata.of(source, form)
    if form == "keras-h5":
        return Export(keras_layout.convert(source), described, None)
    export, _ = made(source, form)
    if not quantize:
        return export
    described = dataclasses.replace(described, weights="int8")
    small = int8.quantize(export.content, source, described)
    shares = f"{100 * small.before:.2f} % in float32, {100 * small.after:.2f} % in int8"
    difference = parity.largest(onnx_format.answers(small.content), source.predictor)
    note = f"accuracy on {small.images:,} validation images: {shares}"
    return Export(small.content, described, difference, (note,))


def made(source: Source, form: str) -> tuple[Export, Answers]:
    """Does `make` for one of FORMATS, and returns the function of the file as well."""
    described = metadata.of(source, form)
    content, answers = _converted(source, form, described)
    return Export(content, described, parity.check(answers, source.predictor)), answers


def _converted(source: Source, form: str, described: metadata.Metadata) -> tuple[bytes, Answers]:
    """The content of the file, and the function that it computes when it is read back."""
    size = source.predictor.size
    if form == "onnx":
        content = onnx_format.convert(computation.probabilities(source), size, described)
        return content, onnx_format.answers(content)
    if form == "stablehlo":
        content = stablehlo.convert(computation.probabilities(source), size)
        return content, stablehlo.answers(content)
    # Keras starts TensorFlow, which takes seconds.
    from cifsel.prediction.exports import keras_model, tflite

    model = keras_model.build(source)
    if form == "keras":
        content = keras_model.convert(model)
        return content, keras_model.answers(content)
    if form != "tflite":
        raise UserError(f"format is {form!r}; expected one of {', '.join(FORMATS)}")
    content = tflite.convert(model)
    return content, tflite.answers(content)
