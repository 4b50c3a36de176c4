"""A complete Keras model: keras.applications' backbone with everything before and behind it.

It has standard layers only, so that keras.models.load_model opens it without cifsel.
"""

import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jaxtyping import Float32

from cifsel.errors import UserError
from cifsel.evaluation import features
from cifsel.models.classifier import preprocess
from cifsel.prediction.exports import keras_layout
from cifsel.prediction.exports.computation import resize_matrix
from cifsel.prediction.exports.parity import Answers
from cifsel.prediction.exports.source import Source
from cifsel.prediction.trained_model import TrainedModel


def build(source: Source) -> Any:
    """Builds the model, from uint8 images to probabilities, as a keras.Model.

    Raises:
      UserError: keras.applications does not have the backbone.
    """
    made, trained = source.predictor, source.trained
    inputs = keras.Input((made.size, made.size, 3), dtype="uint8", name="images")
    shown = keras.layers.Rescaling(1.0, dtype="float32", name="to_float")(inputs)
    matrix = resize_matrix(source)
    if matrix is not None:
        shown = _product(shown, 1, matrix, "resize_rows")
        shown = _product(shown, 2, matrix, "resize_columns")
        shown = keras.layers.ReLU(max_value=255.0, name="limit")(shown)
    shown = keras.layers.Rescaling(*_preprocessing(source.name_of_model), name="preprocess")(shown)
    classifier = _classifier(source)
    logits = classifier(shown)
    if trained.view.mirror:
        mirrored = keras.ops.flip(shown, axis=2)
        logits = keras.layers.Average(name="mirror_average")([logits, classifier(mirrored)])
    logits = keras.layers.Rescaling(1.0 / made.temperature, name="temperature")(logits)
    outputs = keras.layers.Softmax(name="probabilities")(logits)
    return keras.Model(inputs, outputs, name="cifsel")


def convert(model: Any) -> bytes:
    """The content of a .keras file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.read_bytes()


def answers(content: bytes) -> Answers:
    """The function of a .keras file, read back."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(content)
        model = keras.models.load_model(path)
    return lambda images: np.asarray(model.predict_on_batch(images))


def _classifier(source: Source) -> Any:
    """From preprocessed images to logits."""
    trained = source.trained
    backbone = _backbone(source)
    if isinstance(trained, TrainedModel):
        head, params = trained.model.head, jax.device_get(trained.variables["params"]["head"])
        flat = keras.layers.Flatten() if head.pool == "flatten" else None
        x = (flat or keras.layers.GlobalAveragePooling2D(name="pool"))(backbone.output)
        if head.hidden:
            x = _dense(x, params["hidden"], "hidden", "relu")
        logits = _dense(x, params["logits"], "logits")
    else:
        outputs = {}
        for layer in backbone.layers:  # The last layer of a block gives the block's output.
            outputs[keras_layout.block_of(layer.name)] = layer.output
        cells = [
            _cells(outputs[name], grid, f"{name}_{grid}") for name, grid in trained.meta.places
        ]
        x = keras.layers.Concatenate(name="cells")(cells) if len(cells) > 1 else cells[0]
        logits = _dense(x, {"kernel": trained.kernel, "bias": trained.bias}, "logits")
    return keras.Model(backbone.input, logits, name="classifier")


def _backbone(source: Source) -> Any:
    """The backbone of keras.applications, with the weights of the checkpoint."""
    name, size = source.name_of_model, source.trained.view.image_size
    if name not in keras_layout.APPLICATIONS:
        raise UserError(
            f"keras.applications has no {name}: give --format=onnx or --format=stablehlo, or an"
            " --output that ends in .h5 for the weights alone"
        )
    options: dict[str, Any] = {"include_preprocessing": False}
    if name == "mobilenet":
        options = {"alpha": source.trained.model.backbone.alpha}
    make = getattr(keras.applications, keras_layout.APPLICATIONS[name])
    model = make(include_top=False, weights=None, input_shape=(size, size, 3), **options)
    tensors = keras_layout.tensors(source)
    for layer in model.layers:
        # Keras 3 calls each variable of a layer by its own name, 'kernel' or 'moving_mean'.
        layer.set_weights([tensors[f"{layer.name}/{weight.name}"] for weight in layer.weights])
    return model


def _cells(maps: Any, grid: int, name: str) -> Any:
    """Does `features.pool` by two matrix products."""
    for axis in (1, 2):
        size = maps.shape[axis]
        if size != grid:
            matrix = np.zeros((size, grid), np.float32)
            for cell, (first, past) in enumerate(features.cell_edges(size, grid)):
                matrix[first:past, cell] = 1 / (past - first)
            maps = _product(maps, axis, matrix, f"{name}_axis{axis}")
    return keras.layers.Flatten(name=f"{name}_cells")(maps)


def _product(inputs: Any, axis: int, matrix: Float32[np.ndarray, "n m"], name: str) -> Any:
    """Multiplies axis 1 or 2 of (B, h, w, c) by a fixed matrix, from the right."""
    shape = list(inputs.shape[1:])
    shape[axis - 1] = matrix.shape[1]
    equation = ("bhwc,hn->bnwc", "bhwc,wn->bhnc")[axis - 1]
    layer = keras.layers.EinsumDense(equation, output_shape=shape, trainable=False, name=name)
    return _filled(layer, inputs, matrix)


def _dense(inputs: Any, params: dict[str, Any], name: str, activation: str | None = None) -> Any:
    layer = keras.layers.Dense(len(params["bias"]), activation=activation, name=name)
    return _filled(layer, inputs, params["kernel"], params["bias"])


def _filled(layer: Any, inputs: Any, *weights: Any) -> Any:
    """Calls a layer, and then sets its weights, as it has none before."""
    outputs = layer(inputs)
    layer.set_weights([np.asarray(value) for value in weights])
    return outputs


def _preprocessing(name: str) -> tuple[list[float], list[float]]:
    """Scale and offset of each colour, by which `models.preprocess` maps pixels."""
    ends = jnp.zeros((2, 1, 1, 3)).at[1].set(255.0)
    black, white = np.asarray(preprocess(ends, name), np.float64)[:, 0, 0]
    return ((white - black) / 255.0).tolist(), black.tolist()
