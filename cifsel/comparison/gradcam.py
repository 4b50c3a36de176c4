"""Where in an image a class is seen: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cifsel.data import transforms
from cifsel.restore import Trained


def heat(trained: Trained, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Evidence for one class per image, by position.

    The backbone's last feature map, weighted by the mean gradient of the class's logit with respect
    to each channel; only what speaks for the class is kept.

    Args:
      trained: a model.
      images: (N, H, W, 3) uint8, N >= 1, at the size they are stored in.
      classes: (N,) integer, whose evidence is shown.

    Returns:
      (N, h, w) float32 in [0, 1], each image scaled to its own maximum; all 0 where nothing speaks
      for the class. h and w are those of the feature map, a 32nd of the image's size.
    """
    model, view = trained.model, trained.view

    @jax.jit
    def compute(variables: Any, images: jax.Array, classes: jax.Array) -> jax.Array:
        resized = transforms.resize(images, view.image_size, view.resize)
        maps = jnp.asarray(model.apply(variables, resized, method="feature_map"), jnp.float32)

        def logit_sum(maps: jax.Array) -> jax.Array:
            logits = model.apply(variables, maps, method="classify")
            # Images do not mix in the head, so the gradient of the sum is each one's own.
            return jnp.take_along_axis(jnp.asarray(logits), classes[:, None], axis=1).sum()

        weights = jax.grad(logit_sum)(maps).mean((1, 2), keepdims=True)
        evidence = jax.nn.relu((weights * maps).sum(-1))
        highest = evidence.max((1, 2), keepdims=True)
        return jnp.where(highest > 0, evidence / jnp.where(highest > 0, highest, 1.0), 0.0)

    return np.asarray(compute(trained.variables, jnp.asarray(images), jnp.asarray(classes)))


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
