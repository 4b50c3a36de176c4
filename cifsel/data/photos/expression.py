"""The expression crop: the lower part of a face, always in the same place, grey and even."""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

# Where the points of `landmarks.Face` are in a face of 112 x 112 pixels that is held upright. It is
# the usual template for aligned faces (Deng et al. 2019, "ArcFace").
_TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
     (70.7299, 92.2041)]
)  # fmt: skip
# The square from the eyes to the chin in that template: left and top, and the side. Squares from 52
# to 88 pixels do about as well (experiments/LOG.md).
_CORNER, _SIDE = np.array([20.0, 48.0]), 72.0
# Grey levels of the result: the mean, and how far a standard deviation is from it.
_MEAN, _DEVIATION = 128.0, 56.0


def lower_face(
    image: UInt8[np.ndarray, "h w 3"], points: Float[np.ndarray, "5 2"], size: int
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """Moves, turns and scales a face so that its points come to their places, and cuts it.

    The result is grey, with about the same mean and standard deviation for every photo. Beyond the
    photo, its edges continue.

    Args:
      image: the photo.
      points: as `landmarks.Face.points`.
      size: side of the result in pixels.
    """
    matrix, shift = similarity((_TEMPLATE - _CORNER) * (size / _SIDE), points)
    corners = np.array([(0, 0), (size, 0), (0, size), (size, size)]) @ matrix.T + shift
    # A bicubic filter looks two pixels further.
    left, top = np.floor(corners.min(0)).astype(int) - 3
    right, bottom = np.ceil(corners.max(0)).astype(int) + 3
    height, width = image.shape[:2]
    rows = np.clip(np.arange(top, bottom), 0, height - 1)
    columns = np.clip(np.arange(left, right), 0, width - 1)
    part = Image.fromarray(image[rows][:, columns]).convert("L")
    # The filter of a warp does not widen as it shrinks, so the photo is shrunk before it.
    factor = max(1, int(np.hypot(*matrix[0])))
    part = part.reduce(factor)
    matrix, shift = matrix / factor, (shift - (left, top)) / factor
    warped = part.transform(
        (size, size),
        Image.Transform.AFFINE,
        (*matrix[0].tolist(), float(shift[0]), *matrix[1].tolist(), float(shift[1])),
        Image.Resampling.BICUBIC,
    )
    return np.repeat(_even(np.asarray(warped, np.float64))[..., None], 3, axis=2)


def similarity(
    points: Float[np.ndarray, "n 2"], others: Float[np.ndarray, "n 2"]
) -> tuple[Float[np.ndarray, "2 2"], Float[np.ndarray, " 2"]]:
    """The turn, scale and shift that bring points nearest to others, by least squares.

    Returns:
      A matrix and a shift: others ~ points @ matrix.T + shift.
    """
    # A turn with a scale is a product of complex numbers.
    of_points, of_others = points @ (1, 1j), others @ (1, 1j)
    centred, middle = of_points - of_points.mean(), of_others.mean()
    factor = np.vdot(centred, of_others - middle) / np.vdot(centred, centred).real
    shift = middle - factor * of_points.mean()
    matrix = np.array([(factor.real, -factor.imag), (factor.imag, factor.real)])
    return matrix, np.array([shift.real, shift.imag])


def _even(grey: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Gives a grey image the usual mean and standard deviation. A flat one stays flat."""
    deviation = max(float(grey.std()), 1.0)
    levels = _MEAN + (grey - grey.mean()) * (_DEVIATION / deviation)
    return np.clip(np.round(levels), 0, 255).astype(np.uint8)
