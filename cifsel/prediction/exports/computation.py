"""The computation that is exported: from images to probabilities, in one function.

Every export takes what `prediction.Predictor.show` gives. It resizes, averages over mirror images,
and divides by the temperature itself, as `cifsel.predict` does.
"""

import dataclasses
import inspect
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Num

from cifsel.evaluation import features
from cifsel.prediction.exports.source import Source
from cifsel.prediction.selfie_model import SelfieModel
from cifsel.prediction.trained_model import TrainedModel

# Images (B, s, s, 3) uint8 -> probabilities (B, k) float32. It can be traced with any B.
Computation = Callable[[Array], Array]


def resize_matrix(source: Source) -> Float32[np.ndarray, "before after"] | None:
    """The matrix that resizes an axis of the images, from the left. None if they keep their size.

    `transforms.resize` is linear in each axis, but for the limits of 0 and 255.
    """
    before, view = source.predictor.size, source.trained.view
    if before == view.image_size:
        return None
    shape = (view.image_size, before)
    unit = jnp.eye(before, dtype=jnp.float32)
    return np.asarray(jax.image.resize(unit, shape, view.resize, antialias=True)).T


def probabilities(source: Source) -> Computation:
    """Makes the exported function, with the weights inside."""
    trained = source.trained
    logits = _logits(trained)
    matrix, mirror = resize_matrix(source), trained.view.mirror
    variables = jax.device_put(trained.variables)
    temperature = source.predictor.temperature

    def compute(images: Array) -> Array:
        shown = _resized(images, matrix)
        if mirror:
            # As more images, so that the file has each weight once.
            pairs = jnp.stack([shown, shown[:, :, ::-1]], 1)
            shown = pairs.reshape(-1, *shown.shape[1:])
        outputs = logits(variables, shown)
        if mirror:
            outputs = outputs.reshape(-1, 2, outputs.shape[1]).mean(1)
        return jax.nn.softmax(outputs / temperature, axis=-1)

    return compute


def _logits(trained: TrainedModel | SelfieModel) -> features.Forward:
    """The logits of resized images (B, t, t, 3) in [0, 255]. Not jitted."""
    view = dataclasses.replace(trained.view, mirror=False)
    # The functions are jitted for this machine's CPU. Exports trace what is inside.
    if isinstance(trained, TrainedModel):
        return inspect.unwrap(features.logits(trained.model, view))
    cells = inspect.unwrap(features.cells(trained.model, view, trained.meta.places))
    kernel, bias = np.asarray(trained.kernel), np.asarray(trained.bias)
    return lambda variables, images: jnp.dot(cells(variables, images), kernel) + bias[None]


def _resized(
    images: Num[Array, "b h w 3"], matrix: Float32[np.ndarray, "before after"] | None
) -> Float32[Array, "b t t 3"]:
    """Resizes as `transforms.resize` does, by two matrix products.

    ONNX and Keras have no operation that resizes in the same way. Products of fixed matrices are
    the same everywhere.
    """
    images = images.astype(jnp.float32)
    if matrix is None:
        return images
    images = jnp.einsum("bhwc,hs->bswc", images, matrix)
    return jnp.clip(jnp.einsum("bhwc,ws->bhsc", images, matrix), 0.0, 255.0)
