"""Features of photos from inner layers of a backbone, averaged over the cells of a grid."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float, UInt8

from cifsel.evaluation import features, inference
from cifsel.models.classifier import Classifier
from cifsel.prediction import predictor
from cifsel.selfie.protocol.logistic import RotatedFeatures
from cifsel.selfie.protocol.pretrained import PretrainedBackbone

# Photos have the backbone's image size already, so that nothing is resized.
RESIZE = "bicubic"


@dataclasses.dataclass(frozen=True, eq=False)
class LayerFeatures:
    """Features of N photos from one layer.

    Attributes:
      layer: a name of `backbone.layer_names`.
      grid: the number of cells along each side over which the layer's output is averaged.
      rotated: the features.
    """

    layer: str
    grid: int
    rotated: RotatedFeatures


def layers_and_grids(
    model: Classifier, depths: Sequence[float], grids: Sequence[int]
) -> tuple[tuple[str, int], ...]:
    """Lists every layer with every grid, each once.

    Args:
      model: a classifier.
      depths: where the layers are within the backbone, from 0 for the first to 1 for the last.
      grids: the numbers of cells along each side.
    """
    names = model.backbone.layer_names
    layers = dict.fromkeys(names[round(depth * (len(names) - 1))] for depth in depths)
    return tuple((layer, grid) for layer in layers for grid in dict.fromkeys(grids))


def extract_features(
    backbone: PretrainedBackbone,
    images: UInt8[np.ndarray, "n s s 3"],
    places: Sequence[tuple[str, int]],
) -> tuple[LayerFeatures, ...]:
    """Computes the features of photos, averaged over each photo and its mirror image.

    Args:
      backbone: gives the features.
      images: the photos as it is shown them.
      places: layers and grids.
    """
    view = features.View(backbone.image_size, RESIZE, mirror=True)
    forward = features.cells(backbone.model, view, places)
    concatenated = inference.map_batches(
        lambda batch: forward(backbone.variables, batch),
        images,
        predictor.batch_size(),
        progress=f"features, {backbone.name}",
    )
    names = [layer for layer, _ in places]
    shown = jax.ShapeDtypeStruct((1, *images.shape[1:]), np.float32)
    maps = jax.eval_shape(
        lambda variables, image: features.layer_maps(backbone.model, variables, image, names),
        backbone.variables,
        shown,
    )
    widths = [grid**2 * shape.shape[-1] for shape, (_, grid) in zip(maps, places, strict=True)]
    ends = np.cumsum(widths)[:-1]
    return tuple(
        LayerFeatures(layer, grid, RotatedFeatures.of(part))
        for (layer, grid), part in zip(places, np.split(concatenated, ends, axis=1), strict=True)
    )


def stacked_points(places: Sequence[LayerFeatures]) -> Float[np.ndarray, "s n n"]:
    """Stacks the coordinates of S kinds of features, as `nested_cross_validation` takes them."""
    return np.stack([place.rotated.points for place in places])
