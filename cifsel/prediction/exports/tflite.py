"""TFLite from the Keras model, by TensorFlow's own converter."""

import contextlib
import io
from typing import Any

import numpy as np

from cifsel.prediction.exports import extras
from cifsel.prediction.exports.parity import Answers


def convert(model: Any) -> bytes:
    """The content of a .tflite file with float32 weights.

    Args:
      model: of `keras_model.build`.
    """
    import tensorflow as tf

    # Keras prints all tensors of the model on its way.
    with contextlib.redirect_stdout(io.StringIO()):
        return bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


def answers(content: bytes) -> Answers:
    """The function that TensorFlow's TFLite interpreter computes from a file."""
    import tensorflow as tf

    with extras.quiet():  # It warns of its next move to another package.
        interpreter = tf.lite.Interpreter(model_content=content)

    def run(images: np.ndarray) -> np.ndarray:
        (entry,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.resize_tensor_input(entry["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(entry["index"], images)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(result["index"]))

    return run
