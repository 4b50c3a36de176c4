"""MTCNN, which finds faces and five points of each, in NumPy.

Zhang et al. 2016, "Joint face detection and alignment using multitask cascaded convolutional
networks". It is three small networks in a row. The first one looks at an image at several sizes and
proposes squares. The second and the third one reject and refine them. The weights come with the
package mtcnn. That package runs them with TensorFlow, so they are run here.
"""

import dataclasses
import functools
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from PIL import Image

from cifsel.errors import UserError

# The smallest face in pixels, and the factor from one size of the image to the next.
_LEAST_FACE, _STEP = 40, 0.709
# The side of the squares that each network looks at.
_PROPOSED, _REFINED, _POINTED = 12, 24, 48
# The first network looks at squares so many pixels apart.
_STRIDE = 2
# The least probability of a face after each network, as published.
_LEAST_PROPOSED, _LEAST_REFINED, _LEAST_FOUND = 0.6, 0.7, 0.8

Weights = Sequence[np.ndarray]
# left, top, right, bottom in each row.
Boxes = Float[np.ndarray, "n 4"]


@dataclasses.dataclass(frozen=True, eq=False)
class Networks:
    """The weights of the three networks, in the order of their layers."""

    propose: Weights
    refine: Weights
    point: Weights

    def detect(
        self, image: UInt8[np.ndarray, "h w 3"]
    ) -> tuple[Boxes, Float[np.ndarray, "n 5 2"], Float[np.ndarray, " n"]]:
        """Returns the boxes of faces, their points, and the probabilities of faces."""
        picture = Image.fromarray(image)
        boxes, _ = self._proposals(picture)
        shifts, _, sure = _judge(self.refine, _patches(picture, boxes, _REFINED))
        boxes, sure = _kept(boxes, shifts, sure, _LEAST_REFINED)[:2]
        boxes = _squares(boxes[_distinct(boxes, sure, 0.7)])
        shifts, relative, sure = _judge(self.point, _patches(picture, boxes, _POINTED))
        sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
        points = boxes[:, None, :2] + relative.reshape(-1, 2, 5).transpose(0, 2, 1) * sides
        boxes, sure, is_kept = _kept(boxes, shifts, sure, _LEAST_FOUND)
        chosen = _distinct(boxes, sure, 0.7, of_smaller=True)
        return boxes[chosen], points[is_kept][chosen], sure[chosen]

    def _proposals(self, picture: Image.Image) -> tuple[Boxes, Float[np.ndarray, " n"]]:
        """Returns squares that may be faces, with the probability of each."""
        scale = _PROPOSED / _LEAST_FACE
        boxes, sure = [np.zeros((0, 4))], [np.zeros(0)]
        while min(picture.size) * scale >= _PROPOSED:
            size = round(picture.width * scale), round(picture.height * scale)
            smaller = _normalised(picture.resize(size, Image.Resampling.BILINEAR))
            shifts, probabilities = _propose(self.propose, smaller)
            rows, columns = np.nonzero(probabilities > _LEAST_PROPOSED)
            corners = _STRIDE * np.stack([columns, rows], 1) + 1.0
            squares = np.concatenate([corners, corners + _PROPOSED - 1], 1)
            own = (squares + shifts[rows, columns] * _PROPOSED) / scale
            chosen = _distinct(own, probabilities[rows, columns], 0.5)
            boxes.append(own[chosen])
            sure.append(probabilities[rows, columns][chosen])
            scale *= _STEP
        together, probabilities = np.concatenate(boxes), np.concatenate(sure)
        chosen = _distinct(together, probabilities, 0.7)
        return _squares(together[chosen]), probabilities[chosen]


@functools.cache
def load_networks() -> Networks:
    """Reads the weights.

    Raises:
      UserError: the package with the weights is not installed.
    """
    spec = importlib.util.find_spec("mtcnn")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("crop='expression' needs mtcnn: pip install 'cifsel[expression]'")
    folder = Path(spec.submodule_search_locations[0]) / "assets" / "weights"
    import joblib

    try:
        # The package would import TensorFlow. Its files are its own, as its code is.
        return Networks(*(joblib.load(folder / f"{name}net.lz4") for name in "pro"))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{folder} lacks the weights of mtcnn 1.0 ({error}): pip install 'cifsel[expression]'"
        ) from error


def _propose(
    weights: Weights, image: Float32[np.ndarray, "h w 3"]
) -> tuple[Float[np.ndarray, "r c 4"], Float[np.ndarray, "r c"]]:
    """The first network on all squares of an image: how to shift each, and how likely it is."""
    layers = list(zip(weights[:9:3], weights[1:9:3], weights[2:9:3], strict=True))
    maps = _pooled(_convolved(image[None], *layers[0]), 2, is_padded=True)
    for layer in layers[1:]:
        maps = _convolved(maps, *layer)
    shifts = maps @ weights[9][0, 0] + weights[10]
    return shifts[0], _second_share(maps @ weights[11][0, 0] + weights[12])[0]


def _judge(
    weights: Weights, patches: Float32[np.ndarray, "n s s 3"]
) -> tuple[Float[np.ndarray, "n 4"], Float[np.ndarray, "n p"], Float[np.ndarray, " n"]]:
    """The second or third network on patches: how to shift them, points, and how likely they are.

    The second network has no points.
    """
    is_third = len(weights) > 16
    blocks = 4 if is_third else 3
    pools: list[Callable[[np.ndarray], np.ndarray]] = [
        lambda maps: _pooled(maps, 3, is_padded=True),
        lambda maps: _pooled(maps, 3, is_padded=False),
        (lambda maps: _pooled(maps, 2, is_padded=True)) if is_third else (lambda maps: maps),
        lambda maps: maps,
    ]
    maps = patches
    for block in range(blocks):
        maps = pools[block](_convolved(maps, *weights[3 * block : 3 * block + 3]))
    # The weights are of maps with columns first.
    flat = maps.transpose(0, 2, 1, 3).reshape(len(maps), np.prod(maps.shape[1:]))
    kernel, bias, slope, *heads = weights[3 * blocks :]
    hidden = _activated(flat @ kernel + bias, slope)
    outputs = [hidden @ kernel + bias for kernel, bias in zip(heads[::2], heads[1::2], strict=True)]
    points = outputs[1] if is_third else np.zeros((len(maps), 0), np.float32)
    return outputs[0], points, _second_share(outputs[-1])


def _convolved(
    maps: Float32[np.ndarray, "n h w c"], kernel: np.ndarray, bias: np.ndarray, slope: np.ndarray
) -> Float32[np.ndarray, "n _ _ d"]:
    """A convolution without padding, and a leaky rectifier with a learned slope."""
    height, width = kernel.shape[:2]
    rows, columns = maps.shape[1] - height + 1, maps.shape[2] - width + 1
    taps = [maps[:, i : i + rows, j : j + columns] for i, j in np.ndindex(height, width)]
    windows = np.concatenate(taps, 3)
    return _activated(windows @ kernel.reshape(-1, kernel.shape[-1]) + bias, slope)


def _activated(values: np.ndarray, slope: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0) + np.reshape(slope, -1) * np.minimum(values, 0)


def _pooled(
    maps: Float32[np.ndarray, "n h w c"], side: int, *, is_padded: bool
) -> Float32[np.ndarray, "n _ _ c"]:
    """The maximum of windows, two positions apart."""
    if is_padded:
        # As TensorFlow pads: so that no position is left out, the smaller part at the start.
        widths = [(-(-size // 2) - 1) * 2 + side - size for size in maps.shape[1:3]]
        rows, columns = ((max(0, width) // 2, -(-max(0, width) // 2)) for width in widths)
        maps = np.pad(maps, ((0, 0), rows, columns, (0, 0)), constant_values=-np.inf)
    rows, columns = (2 * ((size - side) // 2) + 1 for size in maps.shape[1:3])
    windows = [maps[:, i : i + rows : 2, j : j + columns : 2] for i, j in np.ndindex(side, side)]
    return functools.reduce(np.maximum, windows)


def _second_share(logits: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n"]:
    """The probability of the second of two classes."""
    return 1 / (1 + np.exp(logits[..., 0] - logits[..., 1]))


def _normalised(picture: Image.Image) -> Float32[np.ndarray, "h w 3"]:
    return (np.asarray(picture, np.float32) - 127.5) / 128


def _patches(
    picture: Image.Image, boxes: Boxes, side: int
) -> Float32[np.ndarray, "n {side} {side} 3"]:
    """Cuts squares out of a picture and resizes them. Beyond the picture they are grey."""
    patches = np.zeros((len(boxes), side, side, 3), np.float32)
    for patch, box in zip(patches, boxes, strict=True):
        left, top = np.floor(box[:2]).astype(int).tolist()
        right, bottom = np.ceil(box[2:]).astype(int).tolist()
        part = Image.new("RGB", (max(1, right - left), max(1, bottom - top)), (127, 127, 127))
        part.paste(picture, (-left, -top))
        inner = box - (left, top, left, top)
        limits = np.clip(inner, 0, (*part.size, *part.size)).tolist()
        patch[:] = _normalised(part.resize((side, side), Image.Resampling.BILINEAR, limits))
    return patches


def _kept(
    boxes: Boxes, shifts: Float[np.ndarray, "n 4"], sure: Float[np.ndarray, " n"], least: float
) -> tuple[Float[np.ndarray, "m 4"], Float[np.ndarray, " m"], Bool[np.ndarray, " n"]]:
    """Shifts the boxes that are likely enough. Returns them, and which they are."""
    is_kept = sure >= least
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    return (boxes + shifts * sides)[is_kept], sure[is_kept], is_kept


def areas(boxes: Boxes) -> Float[np.ndarray, " n"]:
    """The areas of boxes."""
    return np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)


def _squares(boxes: Boxes) -> Boxes:
    """The smallest squares around boxes, with the same middles."""
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    half = np.maximum(1.0, sides.max(1, keepdims=True)) / 2 if len(boxes) else sides[:, :1]
    return np.concatenate([middles - half, middles + half], 1)


def _distinct(
    boxes: Boxes, sure: Float[np.ndarray, " n"], most: float, *, of_smaller: bool = False
) -> list[int]:
    """Leaves out boxes that overlap a surer one by more than a share. Returns positions.

    Args:
      boxes: to choose from.
      sure: how likely each is.
      most: the largest share.
      of_smaller: the share is of the smaller box, and else of what both cover.
    """
    sizes, chosen = areas(boxes), []
    rest = np.argsort(-sure, kind="stable")
    while len(rest):
        first, rest = int(rest[0]), rest[1:]
        chosen.append(first)
        corners = np.maximum(boxes[rest, :2], boxes[first, :2])
        shared = areas(np.concatenate([corners, np.minimum(boxes[rest, 2:], boxes[first, 2:])], 1))
        smaller = np.minimum(sizes[rest], sizes[first])
        whole = smaller if of_smaller else sizes[rest] + sizes[first] - shared
        rest = rest[shared <= most * np.maximum(whole, 1e-9)]
    return chosen
