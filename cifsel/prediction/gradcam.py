"""Grad-CAM: heat maps of the evidence for a class (Selvaraju et al. 2017, arXiv:1610.02391)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8

from cifsel.data import transforms
from cifsel.evaluation import features
from cifsel.models.classifier import Classifier
from cifsel.prediction.trained_model import TrainedModel

Array = jax.Array
Tree = Any
# Opacity of the colour where heat is highest.
_MOST_COVER = 0.6


def heat(
    trained: TrainedModel, images: UInt8[np.ndarray, "n s s 3"], classes: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "n h w"]:
    """Evidence for one class per image, by position.

    Args:
      trained: a model.
      images: at least one, at the size they are stored in.
      classes: whose evidence is shown.

    Returns:
      The heat maps of `of_logits`, float32.
    """
    compute = of_logits(trained.model, trained.view)
    return np.asarray(compute(trained.variables, jnp.asarray(images), jnp.asarray(classes)))


def of_logits(model: Classifier, view: features.View) -> Callable[[Tree, Array, Array], Array]:
    """Evidence in the backbone's last feature map, for the model's own head.

    Each channel is weighted by the mean gradient of the class's logit. The channels are added up,
    and evidence against the class is set to 0.

    Args:
      model: the classifier.
      view: how images are shown. Its mirroring is not used.

    Returns:
      A jitted function of variables, images (b, s, s, 3) uint8 and classes (b,). It gives heat maps
      (b, h, w) float32 in [0, 1], at the size of the feature map, a 32nd of the image's. The
      maximum of each is 1, or 0 without evidence for the class.
    """

    def compute(variables: Tree, images: Array, classes: Array) -> Array:
        resized = transforms.resize(images, view.image_size, view.resize)
        maps = jnp.asarray(model.apply(variables, resized, method="feature_map"), jnp.float32)

        def logit_sum(maps: Array) -> Array:
            logits = model.apply(variables, maps, method="classify")
            # Images do not mix in the head, so the gradient of the sum is that of each logit.
            return jnp.take_along_axis(jnp.asarray(logits), classes[:, None], axis=1).sum()

        weights = jax.grad(logit_sum)(maps).mean((1, 2), keepdims=True)
        return _to_own_maximum((weights * maps).sum(-1))

    return jax.jit(compute)


def of_cells(
    model: Classifier, view: features.View, places: Sequence[tuple[str, int]]
) -> Callable[[Tree, Array, Array, Array], Array]:
    """Evidence in inner layers, for a linear head on the features of `features.cells`.

    Each cell of a grid has its own weights, so the gradient is not averaged over positions
    (HiResCAM, Draelos and Carin 2020, arXiv:2011.08891). The head is linear in the layers. So the
    evidence for and against a class adds up to its logit, except for the bias. Logits are taken
    relative to their mean over classes, which softmax does not depend on.

    Args:
      model: the classifier.
      view: how images are shown. With `mirror`, the evidence is averaged over both ways.
      places: pairs of layer and grid of `features.cells`. Their maps are added up at the size of
        the finest.

    Returns:
      A jitted function of variables, the head's kernel (d, k) float32, images (b, s, s, 3) uint8
      and classes (b,). It gives heat maps like those of `of_logits`.
    """

    def compute(variables: Tree, kernel: Array, images: Array, classes: Array) -> Array:
        weights = (kernel - kernel.mean(1, keepdims=True)).T[classes]

        def logit_sum(maps: list[Array]) -> Array:
            pairs = zip(maps, places, strict=True)
            cells = [features.pool(layer_map, grid) for layer_map, (_, grid) in pairs]
            return (jnp.concatenate(cells, 1) * weights).sum()

        def evidence(images: Array) -> Array:
            maps = features.layer_maps(model, variables, images, [layer for layer, _ in places])
            gradients = jax.grad(logit_sum)(maps)
            pairs = zip(maps, gradients, strict=True)
            return _sum_at_finest([(values * slopes).sum(-1) for values, slopes in pairs])

        # The second view is the mirror image, so its evidence is mirrored back.
        views = [evidence(shown) for shown in view.of(images)]
        views[1:] = [mirrored[:, :, ::-1] for mirrored in views[1:]]
        return _to_own_maximum(jnp.stack(views).mean(0))

    return jax.jit(compute)


def _sum_at_finest(maps: Sequence[Float[Array, "b _ _"]]) -> Float[Array, "b h w"]:
    """Adds maps up at the size of the largest, without changing their totals."""
    shape = max((coarse.shape for coarse in maps), key=math.prod)
    scaled = [
        jax.image.resize(coarse, shape, "linear") * (coarse.size / math.prod(shape))
        for coarse in maps
    ]
    return jnp.stack(scaled).sum(0)


def _to_own_maximum(evidence: Float[Array, "b h w"]) -> Float[Array, "b h w"]:
    """Sets negative values to 0, and divides each map by its maximum."""
    evidence = jax.nn.relu(evidence)
    highest = evidence.max((1, 2), keepdims=True)
    return jnp.where(highest > 0, evidence / jnp.where(highest > 0, highest, 1.0), 0.0)


def overlay(
    images: UInt8[np.ndarray, "n s s 3"], heat: Float[np.ndarray, "n h w"], size: int
) -> UInt8[np.ndarray, "n {size} {size} 3"]:
    """Lays colour over each image where its heat is high. The image stays visible below.

    A map of 1 x 1 says nothing of places, so that such images stay as they are.

    Args:
      images: of any size.
      heat: in [0, 1].
      size: side of the result, in pixels.
    """
    large = np.asarray(transforms.resize(jnp.asarray(images), size, "nearest"), np.float32)
    if not has_places(heat):
        return large.round().astype(np.uint8)
    shape = (len(heat), size, size)
    shown = np.asarray(jnp.clip(jax.image.resize(jnp.asarray(heat), shape, "linear"), 0.0, 1.0))
    return _coloured(large, shown)


def has_places(heat: Float[np.ndarray, "n h w"]) -> bool:
    """Whether heat maps tell places apart. The map of a very small image is 1 x 1."""
    return heat.shape[1:] != (1, 1)


def scale(width: int = 240, height: int = 16) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """Draws the colours of `overlay` on grey, from no heat to the most."""
    heat = np.broadcast_to(np.linspace(0, 1, width, dtype=np.float32), (1, height, width))
    return _coloured(np.full((1, height, width, 3), 160, np.float32), heat)[0]


def _coloured(images: np.ndarray, heat: np.ndarray) -> np.ndarray:
    # Imported here, as predictions without explanations need no figures.
    import matplotlib

    # The lightness of plasma rises all along, so that colour blindness does not matter.
    colours = 255 * matplotlib.colormaps["plasma"](heat)[..., :3]
    cover = _MOST_COVER * heat[..., None]
    return (images * (1 - cover) + colours * cover).round().astype(np.uint8)
