"""Forward passes of a model in inference mode: logits, pooled features, feature maps.

Nothing here trains. Each function takes images as they are stored and resizes them on the device.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Num

from cifsel.data import transforms
from cifsel.models.classifier import Classifier
from cifsel.models.cpu import compiler
from cifsel.runtime import executables

Tree = Any
# Jitted (variables, images (B, h, w, 3) uint8) -> (B, ...) float32. Row i depends on image i only.
Forward = Callable[[Tree, Array], Array]


@dataclasses.dataclass(frozen=True)
class View:
    """How images are shown to a model.

    Attributes:
      image_size: side in pixels.
      resize: method of `transforms.resize`.
      mirror: outputs are averaged over each image and its mirror image.
    """

    image_size: int
    resize: str
    mirror: bool

    def of(self, images: Num[Array, "b h w c"]) -> list[Float[Array, "b s s c"]]:
        """Returns the resized images in [0, 255], and with `mirror` their mirror images too."""
        images = transforms.resize(images, self.image_size, self.resize)
        return [images, images[:, :, ::-1]] if self.mirror else [images]


def logits(model: Classifier, view: View) -> Forward:
    """Makes the function that computes logits (B, K), averaged over the views."""
    return _averaged(functools.partial(model.apply, train=False), view, f"logits {model!r}")


def pooled(model: Classifier, view: View) -> Forward:
    """Makes the function that computes features (B, D), averaged over positions and views."""
    return _averaged(functools.partial(model.apply, method="features"), view, f"pooled {model!r}")


def maps(model: Classifier, view: View) -> Forward:
    """Makes the function that computes the backbone's output (B, h, w, D).

    For a head with average pooling, it is averaged already: (B, 1, 1, D).
    """

    def apply(variables: Tree, images: Array) -> Array:
        output = jnp.asarray(model.apply(variables, images, method="feature_map"), jnp.float32)
        return output.mean((1, 2), keepdims=True) if model.head.pool == "average" else output

    return _averaged(apply, view, f"maps {model!r}")


def cells(model: Classifier, view: View, places: Sequence[tuple[str, int]]) -> Forward:
    """Makes the function that computes inner layers' outputs, averaged over the cells of a grid.

    Args:
      model: the classifier.
      view: how images are shown.
      places: a layer, by its name in `backbone.layer_names`, and the number of cells along each
        side of its map. Neighbouring cells overlap by a position where the side is no multiple of
        that number.

    Returns:
      The function's outputs are (B, D). For each place in turn they hold the cells row by row,
      with all channels of each cell.
    """

    def apply(variables: Tree, images: Array) -> Array:
        outputs = layer_maps(model, variables, images, [layer for layer, _ in places])
        pairs = zip(outputs, places, strict=True)
        return jnp.concatenate([pool(maps, grid) for maps, (_, grid) in pairs], axis=1)

    return _averaged(apply, view, f"cells {model!r} {places!r}")


def cell_channels(
    model: Classifier, variables: Tree, image_size: int, places: Sequence[tuple[str, int]]
) -> list[int]:
    """The number of channels of each place of `cells`. Nothing is computed."""
    image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    names = [layer for layer, _ in places]
    maps = jax.eval_shape(
        lambda variables, image: layer_maps(model, variables, image, names), variables, image
    )
    return [shape.shape[-1] for shape in maps]


def without_cells(
    outputs: Float[np.ndarray, "n d"], places: Sequence[tuple[str, int]], channels: Sequence[int]
) -> Float[np.ndarray, "n c"]:
    """Averages outputs of `cells` over the cells. The channels of all places are in a row.

    Args:
      outputs: of `cells`.
      places: as `cells` takes them.
      channels: as `cell_channels` returns them.
    """
    widths = [grid**2 * own for (_, grid), own in zip(places, channels, strict=True)]
    parts = np.split(outputs, np.cumsum(widths)[:-1], axis=1)
    pairs = zip(parts, channels, strict=True)
    return np.concatenate([part.reshape(len(part), -1, own).mean(1) for part, own in pairs], axis=1)


def layer_maps(
    model: Classifier, variables: Tree, images: Num[Array, "b h w c"], names: Sequence[str]
) -> list[Float[Array, "b _ _ _"]]:
    """Computes the outputs of layers of the backbone, by `backbone.layer_names`.

    Under jit, only the layers up to the deepest of these are computed.
    """

    def is_wanted(module: nn.Module, method: str) -> bool:
        return method == "__call__" and module.path[-1] in names and len(module.path) == 2

    _, state = model.apply(
        variables,
        images,
        method="feature_map",
        capture_intermediates=is_wanted,
        mutable=["intermediates"],
    )
    outputs = state["intermediates"]["backbone"]
    return [jnp.asarray(outputs[name]["__call__"][0], jnp.float32) for name in names]


def pool(maps: Float[Array, "b h w c"], grid: int) -> Float[Array, "b d"]:
    """Averages over the cells of a grid. D is grid * grid * C."""
    for axis in (1, 2):
        edges = cell_edges(maps.shape[axis], grid)
        parts = [jax.lax.slice_in_dim(maps, a, b, axis=axis).mean(axis) for a, b in edges]
        maps = jnp.stack(parts, axis)
    return maps.reshape(maps.shape[0], -1)


def cell_edges(size: int, grid: int) -> list[tuple[int, int]]:
    """First position of each cell along an axis, and the one after its last."""
    # Cells go from floor to ceiling, as in torch's adaptive pooling, so that none is empty.
    return [(i * size // grid, -(-(i + 1) * size // grid)) for i in range(grid)]


def _averaged(apply: Callable[[Tree, Array], Any], view: View, about: str) -> Forward:
    """Makes a forward pass. `about` says what `apply` is made from."""

    def forward(variables: Tree, images: Array) -> Array:
        outputs = jnp.stack([apply(variables, images) for images in view.of(images)])
        return outputs.mean(0)

    options = compiler.compiler_options()
    jitted = jax.jit(forward, compiler_options=options)
    return executables.Kept(jitted, f"{about} {view!r} {options!r}")
