"""Test images that are in the training set too: the same pixels, or another copy of the photograph.

Both splits of CIFAR were collected by searching the web. One photograph is found there in many
places: cropped, recoloured, recompressed, mirrored. Barz and Denzler, "Do We Train on Test Data?",
2020, had a network propose such copies and judged them by eye. Here a fixed rule decides, so that
the result can be reproduced.
"""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int, UInt8

from cifsel.data import copies
from cifsel.data.splits import Dataset
from cifsel.runtime.bars import tracked

# Chosen by eye on CIFAR-100. Above it about 94 % of the pairs are one picture: nearly all above
# 0.82, three in four between 0.75 and 0.82. From 0.70 to 0.75 about 60 % are. The others are
# drawings and specimens on white that merely share an outline.
THRESHOLD = 0.75
CRITERION = (
    "A test image counts as a near duplicate if some training image, mirrored or not and shifted "
    "by up to two pixels to where their edges fit best, shows the same pattern: after 3 x 3 "
    "smoothing, the correlation of the two within windows of 5 x 5 pixels, averaged over all "
    f"windows with more weight where there is contrast, is {THRESHOLD} or more."
)

COPIES_CRITERION = (
    "A test image counts as a near duplicate if some training image, mirrored or not, shows the "
    "same: in grey thumbnails of 32 x 32 pixels, the correlation within each of nine windows of "
    f"16 x 16 is {copies.THRESHOLD} or more."
)

_MAX_SHIFT = 2  # pixels
_SMOOTHING, _WINDOW = 3, 5  # pixels
# Both in grey levels. Compression alone makes about 2 even where there is nothing to see. Above
# 10 all windows have the same weight. Otherwise two outlines on white would look like two copies.
_NOISE, _ENOUGH_CONTRAST = 2.0, 10.0
# Windows are compared only for the pairs that agree best at about 8 x 8 pixels. This loses few
# duplicates: several other preselections together found 344 in CIFAR-100 instead of 340.
_PRESELECTED, _COARSE = 10, 8
_BLOCK = 500  # test images at a time, which takes about 300 MB


@dataclasses.dataclass(frozen=True)
class Duplicate:
    """A test image and the training image it duplicates.

    Attributes:
      test_position: index into the test images.
      train_position: index into the training images.
      similarity: 1.0 if exact, else the mean correlation of `CRITERION`.
      exact: whether all pixels are equal.
    """

    test_position: int
    train_position: int
    similarity: float
    exact: bool


def find_duplicates(
    test: UInt8[np.ndarray, "n h w 3"],
    train: UInt8[np.ndarray, "m h w 3"],
    threshold: float = THRESHOLD,
) -> list[Duplicate]:
    """Finds the test images that have an exact or near duplicate among the training images.

    Images without contrast have exact duplicates only.

    Args:
      test: test images, at least 8 x 8 pixels.
      train: training images of the same size.
      threshold: least similarity of a near duplicate.

    Returns:
      At most one per test image, the most similar. Exact ones come first, then the others by
      descending similarity.

    Raises:
      ValueError: the arrays are not uint8 images of one size, at least 8 x 8.
    """
    _check(test, train)
    duplicates: dict[int, Duplicate] = {}
    for test_position, train_position, similarity in _near(test, train):
        if similarity >= threshold:
            best = duplicates.get(test_position)
            if best is None or similarity > best.similarity:
                duplicates[test_position] = Duplicate(
                    test_position, train_position, similarity, exact=False
                )
    first_position: dict[bytes, int] = {}
    for position, image in enumerate(train):
        first_position.setdefault(image.tobytes(), position)
    for position, image in enumerate(test):
        if (equal := first_position.get(image.tobytes())) is not None:
            duplicates[position] = Duplicate(position, equal, 1.0, exact=True)
    return sorted(
        duplicates.values(),
        key=lambda duplicate: (
            not duplicate.exact,
            -duplicate.similarity,
            duplicate.test_position,
        ),
    )


def find_copies(dataset: Dataset) -> list[Duplicate]:
    """Finds the test images of a user's own data set that have a copy among the others.

    `data.copies` finds the copies. The criterion of this module is for images of 32 pixels.

    Returns:
      As `find_duplicates`. Training images come before validation images.
    """
    parts = dataset.test.images, dataset.train.images, dataset.val.images
    thumbnails = np.concatenate([copies.all_thumbnails(images) for images in parts])
    tests = len(dataset.test)
    pairs = copies.near_copies(thumbnails)
    pairs = pairs[(pairs[:, 0] < tests) & (pairs[:, 1] >= tests)]
    best: dict[int, Duplicate] = {}
    for (i, j), similar in zip(
        pairs.tolist(), copies.similarity(thumbnails, pairs).tolist(), strict=True
    ):
        if i not in best or similar > best[i].similarity:
            best[i] = Duplicate(i, j - tests, similar, _is_equal(dataset, i, j - tests))
    return sorted(
        best.values(), key=lambda copy: (not copy.exact, -copy.similarity, copy.test_position)
    )


def _is_equal(dataset: Dataset, test_position: int, train_position: int) -> bool:
    part, position = dataset.train, train_position
    if position >= len(part):
        part, position = dataset.val, position - len(part)
    return np.array_equal(dataset.test.images[test_position], part.images[position])


def _check(test: np.ndarray, train: np.ndarray) -> None:
    for images in (test, train):
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
            raise ValueError(f"need uint8 (N, H, W, 3), got {images.dtype} {images.shape}")
    if test.shape[1:] != train.shape[1:] or min(test.shape[1:3]) < _COARSE:
        raise ValueError(
            f"images of {test.shape[1:3]} and {train.shape[1:3]} pixels: need one size, "
            f"{_COARSE} x {_COARSE} or more"
        )


def _near(test: np.ndarray, train: np.ndarray) -> Iterator[tuple[int, int, float]]:
    """Yields test position, training position and similarity of pairs that agree when coarse."""
    if not len(train):
        return
    coarse = _coarse(train)
    blocks = range(0, len(test), _BLOCK)
    for start in tracked(blocks, "searching for test images that are in training too"):
        upright = test[start : start + _BLOCK]
        for images in (upright, upright[:, :, ::-1]):
            agreement = _coarse(images) @ coarse.T
            count = min(_PRESELECTED, len(train))
            preselected = np.argpartition(-agreement, count - 1, axis=1)[:, :count]
            for train_positions in preselected.T:
                similarity = _similarity(images, train[train_positions])
                rows = range(start, start + len(images))
                yield from zip(rows, train_positions.tolist(), similarity.tolist(), strict=True)


def _coarse(images: UInt8[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n d"]:
    """Shrinks images to about 8 x 8 pixels, centres their channels, and makes unit vectors."""
    factor = min(images.shape[1:3]) // _COARSE
    height, width = (side // factor for side in images.shape[1:3])
    cut = images[:, : height * factor, : width * factor]
    blocks = cut.reshape(len(cut), height, factor, width, factor, 3)
    small = blocks.mean((2, 4), dtype=np.float32)
    flat = (small - small.mean((1, 2), keepdims=True)).reshape(len(cut), -1)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _similarity(
    first: UInt8[np.ndarray, "n h w 3"], second: UInt8[np.ndarray, "n h w 3"]
) -> Float[np.ndarray, " n"]:
    """Computes the similarity of each pair of images, as defined by `CRITERION`."""
    first = _box(first.astype(np.float32) - 128, _SMOOTHING)
    second = _box(second.astype(np.float32) - 128, _SMOOTHING)
    shifts = _best_shifts(first, second)
    result = np.zeros(len(first))
    for shift in np.unique(shifts, axis=0):
        here = (shifts == shift).all(1)
        result[here] = _by_windows(*_overlap(first[here], second[here], *shift))
    return result


def _best_shifts(
    first: Float[np.ndarray, "n h w 3"], second: Float[np.ndarray, "n h w 3"]
) -> Int[np.ndarray, "n 2"]:
    """Finds the shift of each pair, down and right, at which their edges correlate best."""
    # The overlap of very small images must still hold a window.
    most = min(_MAX_SHIFT, min(first.shape[1:3]) - _WINDOW)
    first, second = _edges(first), _edges(second)
    best, shifts = np.full(len(first), -np.inf), np.zeros((len(first), 2), np.int64)
    reach = range(-most, most + 1)
    # The smallest shift comes first, for images that fit equally well at all shifts.
    for shift in sorted(itertools.product(reach, reach), key=lambda shift: np.abs(shift).sum()):
        a, b = _overlap(first, second, *shift)
        both, only_a, only_b = (
            np.einsum("nhwc,nhwc->n", *pair) for pair in ((a, b), (a, a), (b, b))
        )
        fit = both / np.sqrt(np.maximum(only_a * only_b, 1e-6))
        better = fit > best
        best[better], shifts[better] = fit[better], shift
    return shifts


def _edges(images: Float[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n h-1 w-1 2"]:
    """Computes the differences of grey values to those below and to the right."""
    grey = _dot(images, np.ones_like(images))
    corner = grey[:, :-1, :-1]
    return np.stack([grey[:, 1:, :-1] - corner, grey[:, :-1, 1:] - corner], axis=3)


def _overlap(
    first: np.ndarray, second: np.ndarray, down: int, right: int
) -> tuple[np.ndarray, np.ndarray]:
    """Crops both to their overlap, if the second is shifted down and right by that many pixels."""
    height, width = first.shape[1:3]
    return (
        first[:, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)],
        second[:, max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)],
    )


def _by_windows(
    first: Float[np.ndarray, "n h w 3"], second: Float[np.ndarray, "n h w 3"]
) -> Float[np.ndarray, " n"]:
    """Averages over windows the correlation of two images within the window."""
    # Each channel is centred by itself, so that a tint changes nothing. Then they are pooled.
    first_mean, second_mean = _box(first, _WINDOW), _box(second, _WINDOW)
    covariance = _box(_dot(first, second), _WINDOW) - _dot(first_mean, second_mean)
    first_contrast, second_contrast = (
        np.sqrt(np.maximum(_box(_dot(images, images), _WINDOW) - _dot(mean, mean), 0))
        for images, mean in ((first, first_mean), (second, second_mean))
    )
    correlation = covariance / (first_contrast * second_contrast + _NOISE**2)
    weight = np.minimum(np.maximum(first_contrast, second_contrast), _ENOUGH_CONTRAST)
    return (correlation * weight).sum((1, 2)) / np.maximum(weight.sum((1, 2)), 1e-6)


def _dot(
    first: Float[np.ndarray, "n h w 3"], second: Float[np.ndarray, "n h w 3"]
) -> Float[np.ndarray, "n h w"]:
    """Averages the product over channels. einsum is several times faster than `mean`."""
    return np.einsum("nhwc,nhwc->nhw", first, second) / 3


def _box(images: np.ndarray, size: int) -> np.ndarray:
    """Averages all size x size squares of (n, H, W, ...): (n, H - size + 1, W - size + 1, ...)."""
    height, width = (side - size + 1 for side in images.shape[1:3])
    rows = images[:, :height].copy()
    for top in range(1, size):
        rows += images[:, top : top + height]
    squares = rows[:, :, :width].copy()
    for left in range(1, size):
        squares += rows[:, :, left : left + width]
    return squares / size**2
