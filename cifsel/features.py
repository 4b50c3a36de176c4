"""What a model makes of images as it stands: logits, pooled features, feature maps.

Nothing here trains. Each function takes the 32-px images as they are stored and resizes them on
the device.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from cifsel.data import transforms
from cifsel.models.classifier import Classifier

Array = jax.Array
Tree = Any
# Jitted: (variables, images (B, h, w, 3) uint8) -> (B, ...) float32, row by row.
Forward = Callable[[Tree, Array], Array]


@dataclasses.dataclass(frozen=True)
class View:
    """How images are shown to a model.

    Attributes:
      image_size: side in pixels.
      resize: method of `transforms.resize`.
      mirror: average over each image and its mirror image.
    """

    image_size: int
    resize: str
    mirror: bool

    def of(self, images: Array) -> list[Array]:
        """(B, h, w, 3) -> one or two batches (B, S, S, 3) float32 in [0, 255]."""
        images = transforms.resize(images, self.image_size, self.resize)
        return [images, images[:, :, ::-1]] if self.mirror else [images]


def logits(model: Classifier, view: View) -> Forward:
    """Logits (B, K), averaged over the views."""
    return _averaged(functools.partial(model.apply, train=False), view)


def pooled(model: Classifier, view: View) -> Forward:
    """Features (B, D), averaged over positions and views."""
    return _averaged(functools.partial(model.apply, method="features"), view)


def maps(model: Classifier, view: View) -> Forward:
    """The backbone's output (B, h, w, D) for an average-pooling head (B, 1, 1, D)."""

    def apply(variables: Tree, images: Array) -> Array:
        found = jnp.asarray(model.apply(variables, images, method="feature_map"), jnp.float32)
        return found.mean((1, 2), keepdims=True) if model.head.pool == "average" else found

    return _averaged(apply, view)


def _averaged(apply: Callable[[Tree, Array], Any], view: View) -> Forward:
    def forward(variables: Tree, images: Array) -> Array:
        outputs = jnp.stack([apply(variables, images) for images in view.of(images)])
        return outputs.mean(0)

    return jax.jit(forward)
