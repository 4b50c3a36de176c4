"""Finds copies among many images, in a time that does not grow with the square of their number.

Two images are copies if the least correlation within windows of their thumbnails is `THRESHOLD` or
more. A correlation is the inner product of two unit vectors. Copies are therefore close together in
space, and closer still in any projection of that space. A k-d tree of a projection to few
dimensions finds all pairs that may be copies. Only these are compared whole, so no copy is lost.
"""

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from PIL import Image

from cifsel.data.images_on_disk import ImagesOnDisk

if TYPE_CHECKING:  # Else it takes half a second to import, for which `predict` need not wait.
    from scipy import spatial

# The least correlation of two windows is .989 or more for copies (compressed to quality 10, halved,
# mirrored, 20 % brighter or darker, 30 % more contrast). It is .982 or less for another expression
# of the same face, and .54 or less for photos of different people.
THRESHOLD = 0.985

_SIZE, _WINDOW, _STEP = 32, 16, 8  # pixels
_NOISE = 4.0  # grey levels that compression alone may change, so that flat windows agree
# The search is by the lowest waves of the window in the middle, this many in each direction.
_WAVES = 3
_BLOCK = 4_000  # images, or pairs, at a time


def thumbnail(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "32 32"]:
    """Shrinks an image to the grey levels that are compared."""
    grey = Image.fromarray(image).convert("L")
    # This filter averages over areas, whatever size the copy has.
    return np.asarray(grey.resize((_SIZE, _SIZE), Image.Resampling.BOX))


def all_thumbnails(images: UInt8[np.ndarray, "n h w 3"] | ImagesOnDisk) -> np.ndarray:
    """Makes the thumbnails of many images, which are read one by one."""
    parts = [np.empty((0, _SIZE, _SIZE), np.uint8)]
    parts += [thumbnail(images[i])[None] for i in range(len(images))]
    return np.concatenate(parts)


def near_copies(thumbnails: UInt8[np.ndarray, "n 32 32"]) -> Int64[np.ndarray, "pairs 2"]:
    """Finds copies: images rescaled, recompressed, mirrored, tinted or brightened.

    A cropped photo, or another shot of the same scene, is not a copy. An image without contrast is
    a copy of none.

    Args:
      thumbnails: as `thumbnail` makes them.

    Returns:
      i < j of each pair, sorted.
    """
    from scipy import spatial

    contrast = np.concatenate([block.std((1, 2)) for block in _blocks(thumbnails)] or [[]])
    places = np.flatnonzero(contrast > _NOISE)
    upright = thumbnails[places]
    pairs = [np.empty((0, 2), np.int64)]
    if len(upright):
        tree = spatial.KDTree(_coordinates(upright))
        for images in (upright, upright[:, :, ::-1]):
            for block in _candidates(tree, images):
                pairs.append(block[_similarity(images, upright, block) >= THRESHOLD])
    unordered = np.sort(places[np.concatenate(pairs)], axis=1)
    return np.unique(unordered, axis=0)


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    return (array[start : start + _BLOCK] for start in range(0, len(array), _BLOCK))


def _candidates(
    tree: "spatial.KDTree", images: UInt8[np.ndarray, "n 32 32"]
) -> Iterator[Int64[np.ndarray, "pairs 2"]]:
    """Yields pairs (i, j) with i > j for which image i is close to image j of the tree."""
    # Of unit vectors with the inner product t, the squared distance is 2 - 2 t. The rest is for
    # rounding.
    radius = np.sqrt(2 - 2 * THRESHOLD) + 1e-4
    for start in range(0, len(images), _BLOCK):
        points = _coordinates(images[start : start + _BLOCK])
        close = tree.query_ball_point(points, radius, workers=-1)
        second = np.fromiter(itertools.chain.from_iterable(close), np.int64)
        first = np.repeat(
            np.arange(start, start + len(points)), [len(positions) for positions in close]
        )
        pairs = np.stack([first, second], axis=1)
        yield from _blocks(pairs[first > second])


def _coordinates(thumbnails: UInt8[np.ndarray, "n 32 32"]) -> Float32[np.ndarray, "n waves"]:
    """Projects the unit vectors of the middle windows to a few dimensions."""
    from scipy import fft

    middle = (_SIZE - _WINDOW) // 2
    parts = [np.empty((0, _WAVES**2), np.float32)]
    for block in _blocks(thumbnails):
        vectors = _unit_vectors(block, middle, middle)
        waves = fft.dctn(vectors[:, :-1].reshape(-1, _WINDOW, _WINDOW), axes=(1, 2), norm="ortho")[
            :, :_WAVES, :_WAVES
        ].reshape(len(block), -1)
        # The first wave is the mean, which is 0. The vectors' last component takes its place.
        waves[:, 0] = vectors[:, -1]
        parts.append(waves)
    return np.concatenate(parts)


def _unit_vectors(
    thumbnails: UInt8[np.ndarray, "n 32 32"], top: int, left: int
) -> Float32[np.ndarray, "n 257"]:
    """Makes vectors of a window whose inner products are correlations.

    The last component is the noise, so that the correlation of two flat windows is 1.
    """
    window = thumbnails[:, top : top + _WINDOW, left : left + _WINDOW]
    window = window.reshape(len(thumbnails), _WINDOW**2)
    window = window.astype(np.float32)
    centred = (window - window.mean(1, keepdims=True)) / _WINDOW
    noise = np.full((len(window), 1), _NOISE, np.float32)
    vectors = np.concatenate([centred, noise], axis=1)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def similarity(
    thumbnails: UInt8[np.ndarray, "n 32 32"], pairs: Int64[np.ndarray, "pairs 2"]
) -> Float32[np.ndarray, " pairs"]:
    """Computes the least correlation of windows of each pair, mirrored where that is larger."""
    mirrored = thumbnails[:, :, ::-1]
    return np.maximum(
        _similarity(thumbnails, thumbnails, pairs), _similarity(mirrored, thumbnails, pairs)
    )


def _similarity(
    first: UInt8[np.ndarray, "n 32 32"],
    second: UInt8[np.ndarray, "n 32 32"],
    pairs: Int64[np.ndarray, "pairs 2"],
) -> Float32[np.ndarray, " pairs"]:
    """Computes the least correlation of the windows of each pair."""
    least = np.ones(len(pairs), np.float32)
    starts = range(0, _SIZE - _WINDOW + 1, _STEP)
    for top, left in itertools.product(starts, starts):
        a = _unit_vectors(first[pairs[:, 0]], top, left)
        b = _unit_vectors(second[pairs[:, 1]], top, left)
        least = np.minimum(least, np.einsum("nd,nd->n", a, b))
    return least
