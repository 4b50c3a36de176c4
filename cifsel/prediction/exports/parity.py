"""Compares an export with the predictor of its checkpoint."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8

from cifsel.errors import UserError
from cifsel.prediction.predictor import Predictor

# The largest difference of a probability.
TOLERANCE = 1e-4
_IMAGES = 8

# Images (B, s, s, 3) uint8, B >= 1 -> probabilities (B, k).
Answers = Callable[[np.ndarray], np.ndarray]


def check(answers: Answers, predictor: Predictor) -> float:
    """Returns `largest`.

    Raises:
      UserError: it is larger than `TOLERANCE`. Such a file is not written.
    """
    difference = largest(answers, predictor)
    if not difference <= TOLERANCE:
        raise UserError(
            f"the export differs from cifsel.predict by {difference:.1e} in a probability, more"
            f" than {TOLERANCE:g}: nothing was written; try another --format, and report this"
        )
    return difference


def largest(answers: Answers, predictor: Predictor) -> float:
    """The largest difference of a probability over a few images."""
    images = images_for_check(predictor.size)
    expected = predictor.probabilities(images)
    # In two batches of different sizes, since exports promise any size.
    given = np.concatenate([answers(images[:1]), answers(images[1:])])
    return float(np.abs(given - expected).max())


def images_for_check(size: int) -> UInt8[np.ndarray, "n {size} {size} 3"]:
    """Random images, from smooth to rough."""
    rng = np.random.default_rng(0)
    images = []
    for number in range(_IMAGES):
        blocks = 2 ** (number % 4 + 1)
        image: Float[np.ndarray, "_ _ 3"] = rng.uniform(0, 256, (blocks, blocks, 3))
        repeats = -(-size // blocks)
        images.append(image.repeat(repeats, 0).repeat(repeats, 1)[:size, :size])
    return np.stack(images).astype(np.uint8)
