"""What a model makes of images as it stands: logits, pooled features, feature maps.

Nothing here trains. Each function takes the 32-px images as they are stored and resizes them on
the device.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cifsel.data import transforms
from cifsel.models.classifier import Classifier
from cifsel.models.cpu import compiler

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


def cells(model: Classifier, view: View, places: Sequence[tuple[str, int]]) -> Forward:
    """Outputs of inner layers, each averaged over the cells of a grid.

    Args:
      model: the classifier.
      view: how images are shown.
      places: a name of `backbone.layer_names`, and the cells along each side of the map; cells may
        overlap by a position where the side is no multiple of them.

    Returns:
      Gives (B, D): for each place in turn its cells row by row, with all channels of each.
    """

    def apply(variables: Tree, images: Array) -> Array:
        outputs = layer_maps(model, variables, images, [layer for layer, _ in places])
        pairs = zip(outputs, places, strict=True)
        return jnp.concatenate([pool(maps, grid) for maps, (_, grid) in pairs], axis=1)

    return _averaged(apply, view)


def layer_maps(
    model: Classifier, variables: Tree, images: Array, names: Sequence[str]
) -> list[Array]:
    """Outputs (B, h, w, C) float32 of layers of the backbone, by `backbone.layer_names`.

    Under jit, only what leads to the deepest of them is computed.
    """

    def wanted(module: nn.Module, method: str) -> bool:
        return method == "__call__" and module.path[-1] in names and len(module.path) == 2

    _, state = model.apply(
        variables,
        images,
        method="feature_map",
        capture_intermediates=wanted,
        mutable=["intermediates"],
    )
    outputs = state["intermediates"]["backbone"]
    return [jnp.asarray(outputs[name]["__call__"][0], jnp.float32) for name in names]


def pool(maps: Array, grid: int) -> Array:
    """Averages over the cells of a grid: (B, h, w, C) float32 -> (B, grid * grid * C)."""
    for axis in (1, 2):
        size = maps.shape[axis]
        # As torch's adaptive pooling: from floor to ceiling, so that no cell is empty.
        edges = [(i * size // grid, -(-(i + 1) * size // grid)) for i in range(grid)]
        parts = [jax.lax.slice_in_dim(maps, a, b, axis=axis).mean(axis) for a, b in edges]
        maps = jnp.stack(parts, axis)
    return maps.reshape(len(maps), -1)


def _averaged(apply: Callable[[Tree, Array], Any], view: View) -> Forward:
    def forward(variables: Tree, images: Array) -> Array:
        outputs = jnp.stack([apply(variables, images) for images in view.of(images)])
        return outputs.mean(0)

    return jax.jit(forward, compiler_options=compiler.compiler_options())
