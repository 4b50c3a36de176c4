"""ONNX by jax2onnx: one file for onnxruntime and other runtimes."""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from cifsel.prediction.exports import extras
from cifsel.prediction.exports.computation import Computation
from cifsel.prediction.exports.metadata import Metadata
from cifsel.prediction.exports.parity import Answers

# onnxruntime knows it from 1.20 on.
OPSET = 21
INPUT, OUTPUT = "images", "probabilities"


def convert(compute: Computation, size: int, metadata: Metadata) -> bytes:
    """Converts a computation.

    Args:
      compute: the function of images.
      size: side of the images.
      metadata: is put into the file.

    Returns:
      The content of the file.

    Raises:
      UserError: a package is not installed.
    """
    onnx = extras.load("onnx", "onnx")
    model = graph(compute, jax.ShapeDtypeStruct(("batch", size, size, 3), jnp.uint8))
    # Older runtimes refuse a higher version than the opset needs.
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import)
    model.producer_name, model.producer_version = "cifsel", metadata.cifsel_version
    return with_metadata(model, metadata)


def graph(compute: Computation, images: jax.ShapeDtypeStruct) -> Any:
    """The onnx.ModelProto of a function of images.

    Raises:
      UserError: a package is not installed.
    """
    jax2onnx = extras.load("jax2onnx", "onnx")
    with _default_forms(), extras.quiet():
        return jax2onnx.to_onnx(
            compute,
            [images],
            model_name="cifsel",
            opset=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
        )


def with_metadata(model: Any, metadata: Metadata) -> bytes:
    """Puts metadata into an onnx.ModelProto, checks it, and returns its bytes."""
    onnx = extras.load("onnx", "onnx")
    onnx.helper.set_model_props(model, metadata.to_texts())
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def answers(content: bytes) -> Answers:
    """The function that onnxruntime computes from a file, on the CPU.

    Raises:
      UserError: onnxruntime is not installed.
    """
    onnxruntime = extras.load("onnxruntime", "onnx")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda images: np.asarray(session.run([OUTPUT], {INPUT: images})[0])


@contextlib.contextmanager
def _default_forms() -> Iterator[None]:
    """Traces operations in the form that is for no platform in particular.

    jax2onnx cannot convert the choice by platform, nor are the forms for CPUs quick elsewhere.
    """

    def default_form(*arguments: Any, default: Any, **_: Any) -> Any:
        return default(*arguments)

    with mock.patch.object(jax.lax, "platform_dependent", default_form):
        yield
