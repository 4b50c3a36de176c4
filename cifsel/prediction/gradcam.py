"""Where in an image a class is seen: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cifsel.data import transforms
from cifsel.evaluation import features
from cifsel.models.classifier import Classifier
from cifsel.prediction.trained_model import TrainedModel

Array = jax.Array
Tree = Any


def heat(trained: TrainedModel, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Evidence for one class per image, by position.

    Args:
      trained: a model.
      images: (N, H, W, 3) uint8, N >= 1, at the size they are stored in.
      classes: (N,) integer, whose evidence is shown.

    Returns:
      (N, h, w) float32, as `of_logits` gives it.
    """
    compute = of_logits(trained.model, trained.view)
    return np.asarray(compute(trained.variables, jnp.asarray(images), jnp.asarray(classes)))


def of_logits(model: Classifier, view: features.View) -> Callable[[Tree, Array, Array], Array]:
    """Evidence in the backbone's last feature map, for the model's own head.

    The map, weighted by the mean gradient of the class's logit with respect to each channel; only
    what speaks for the class is kept.

    Args:
      model: the classifier.
      view: how images are shown; without its mirroring.

    Returns:
      Jitted: (variables, images (B, H, W, 3) uint8, classes (B,) integer) -> (B, h, w) float32 in
      [0, 1], each image scaled to its own maximum; all 0 where nothing speaks for the class. h and
      w are those of the feature map, a 32nd of the image's size.
    """

    def compute(variables: Tree, images: Array, classes: Array) -> Array:
        resized = transforms.resize(images, view.image_size, view.resize)
        maps = jnp.asarray(model.apply(variables, resized, method="feature_map"), jnp.float32)

        def logit_sum(maps: Array) -> Array:
            logits = model.apply(variables, maps, method="classify")
            # Images do not mix in the head, so the gradient of the sum is each one's own.
            return jnp.take_along_axis(jnp.asarray(logits), classes[:, None], axis=1).sum()

        weights = jax.grad(logit_sum)(maps).mean((1, 2), keepdims=True)
        return _to_own_maximum((weights * maps).sum(-1))

    return jax.jit(compute)


def of_cells(
    model: Classifier, view: features.View, places: Sequence[tuple[str, int]]
) -> Callable[[Tree, Array, Array, Array], Array]:
    """Evidence in the inner layers that a linear head on `features.cells` looks at.

    Each cell of a grid has weights of its own, so the gradient is not averaged over positions but
    taken where it is (HiResCAM, Draelos and Carin 2020, arXiv:2011.08891). As all is linear from
    the layers on, evidence for and against adds up to the logit exactly, but for the bias. A logit
    counts from the mean of all classes, since softmax knows nothing but differences.

    Args:
      model: the classifier.
      view: how images are shown; with `mirror`, evidence is that of both ways, averaged.
      places: as in `features.cells`; several maps are added up at the size of the finest.

    Returns:
      Jitted: (variables, kernel (D, K) float32 of the head, images (B, H, W, 3) uint8, classes (B,)
      integer) -> (B, h, w) float32, as `of_logits` gives it.
    """

    def compute(variables: Tree, kernel: Array, images: Array, classes: Array) -> Array:
        weights = (kernel - kernel.mean(1, keepdims=True)).T[classes]

        def logit_sum(maps: list[Array]) -> Array:
            pairs = zip(maps, places, strict=True)
            cells = [features.pool(one, grid) for one, (_, grid) in pairs]
            return (jnp.concatenate(cells, 1) * weights).sum()

        def evidence(images: Array) -> Array:
            maps = features.layer_maps(model, variables, images, [layer for layer, _ in places])
            gradients = jax.grad(logit_sum)(maps)
            shares = [(one * by).sum(-1) for one, by in zip(maps, gradients, strict=True)]
            return _sum_at_finest(shares)

        ways = [evidence(one) for one in view.of(images)]
        ways[1:] = [way[:, :, ::-1] for way in ways[1:]]
        return _to_own_maximum(jnp.stack(ways).mean(0))

    return jax.jit(compute)


def _sum_at_finest(maps: Sequence[Array]) -> Array:
    """Adds (B, h, w) maps of one scene up at the size of the largest, keeping their totals."""
    shape = max((one.shape for one in maps), key=math.prod)
    scaled = [
        jax.image.resize(one, shape, "linear") * (one.size / math.prod(shape)) for one in maps
    ]
    return jnp.stack(scaled).sum(0)


def _to_own_maximum(evidence: Array) -> Array:
    """Keeps what is above 0, and divides each (h, w) by its highest."""
    evidence = jax.nn.relu(evidence)
    highest = evidence.max((1, 2), keepdims=True)
    return jnp.where(highest > 0, evidence / jnp.where(highest > 0, highest, 1.0), 0.0)


def overlay(images: np.ndarray, heat: np.ndarray, size: int) -> np.ndarray:
    """Dims each image where its heat is low, so that what is left in full colour is the evidence.

    Without a colour map: colours of the image keep their meaning, and no kind of colour vision is
    at a disadvantage.

    Args:
      images: (N, H, W, 3) uint8.
      heat: (N, h, w) float in [0, 1].
      size: side of the result, in pixels.

    Returns:
      (N, size, size, 3) uint8.
    """
    large = transforms.resize(jnp.asarray(images), size, "nearest")
    shape = (len(heat), size, size)
    shown = jnp.clip(jax.image.resize(jnp.asarray(heat), shape, "linear"), 0.0, 1.0)
    return np.asarray((large * (0.15 + 0.85 * shown[..., None])).round(), np.uint8)
