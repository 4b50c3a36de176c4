"""Features of photos from inner layers of a backbone, averaged over the cells of a grid."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from cifsel.evaluation import features, inference
from cifsel.models.classifier import Classifier
from cifsel.prediction import predictor
from cifsel.selfie.protocol.logistic import RotatedFeatures
from cifsel.selfie.protocol.pretrained import PretrainedBackbone

# Photos have the backbone's image size already, so that nothing is resized.
RESIZE = "bicubic"
# Pairs of a layer and a grid.
Places = tuple[tuple[str, int], ...]
_KNOWN_CHANNELS: dict[tuple[Classifier, int, Places], list[int]] = {}


@dataclasses.dataclass(frozen=True, eq=False)
class LayerFeatures:
    """Features of N photos from one layer.

    Attributes:
      layer: a name of `backbone.layer_names`.
      grid: the number of cells along each side over which the layer's output is averaged.
      rotated: the features.
      pooled: the features averaged over all cells.
    """

    layer: str
    grid: int
    rotated: RotatedFeatures
    pooled: Float[np.ndarray, "n c"]


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
    forward = _forward(backbone.model, view, tuple(places))
    concatenated = inference.map_batches(
        lambda batch: forward(backbone.variables, batch),
        images,
        predictor.batch_size(),
        progress=f"features, {backbone.name}",
    )
    channels = _channels(backbone, tuple(places))
    widths = [grid**2 * own for (_, grid), own in zip(places, channels, strict=True)]
    ends = np.cumsum(widths)[:-1]
    return tuple(
        LayerFeatures(
            layer,
            grid,
            RotatedFeatures.of(part),
            features.without_cells(part, [(layer, grid)], [own]),
        )
        for (layer, grid), part, own in zip(
            places, np.split(concatenated, ends, axis=1), channels, strict=True
        )
    )


@functools.lru_cache(maxsize=8)
def _forward(model: Classifier, view: features.View, places: Places) -> features.Forward:
    """The forward pass, which is traced and compiled once for all crops."""
    return features.cells(model, view, places)


def _channels(backbone: PretrainedBackbone, places: Places) -> list[int]:
    """The number of channels of each place, which takes seconds to find out."""
    key = backbone.model, backbone.image_size, places
    if key not in _KNOWN_CHANNELS:
        _KNOWN_CHANNELS[key] = features.cell_channels(
            backbone.model, backbone.variables, backbone.image_size, places
        )
    return _KNOWN_CHANNELS[key]


def stacked_points(places: Sequence[LayerFeatures]) -> Float[np.ndarray, "s n n"]:
    """Stacks the coordinates of S kinds of features, as `nested_cross_validation` takes them."""
    return np.stack([place.rotated.points for place in places])
