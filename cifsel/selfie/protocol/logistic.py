"""L2-regularised logistic regression on a few photos, for thousands of subsets of them at once.

The features of N photos are first rotated to at most N coordinates. This changes no solution: it
lies in the span of its training photos, and the L2 penalty is invariant to rotations. In these
coordinates all subsets and penalties share one small matrix. A step of all fits is two matrix
products.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

Carry = tuple[Array, Array, Array, Array, Array, Array, Array]

# The largest component of the mean loss's gradient, in nats, at which a fit ends. Probabilities
# are then within .0001 of the solution's for penalties of 1e-3 or more, and within .01 at 1e-4.
TOLERANCE = 1e-5
MAX_STEPS = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class RotatedFeatures:
    """Features of N photos in the coordinates of their principal components.

    Attributes:
      points: the coordinates of each photo, float32, centred. Their mean squared norm is 1, so that
        a penalty means the same for all kinds of features. Columns beyond the rank are 0.
      basis: the directions of the coordinates, float32. points = (features - mean) @ basis.T.
      mean: the mean of the features, float32.
    """

    points: Float[np.ndarray, "n n"]
    basis: Float[np.ndarray, "n d"]
    mean: Float[np.ndarray, " d"]

    @classmethod
    def of(cls, features: Float[np.ndarray, "n d"]) -> "RotatedFeatures":
        """Rotates features. Neither labels nor the scale of the features have any influence."""
        mean = features.mean(0, dtype=np.float64)
        centred = features - mean
        # The Gram matrix is (N, N), while D may be a thousand times N.
        squares, vectors = np.linalg.eigh(centred @ centred.T)
        squares, vectors = squares[::-1], vectors[:, ::-1]
        kept = squares > 1e-9 * max(squares[0], 1e-30)
        roots = np.sqrt(np.where(kept, squares, 0.0))
        scale = max(np.sqrt(np.where(kept, squares, 0.0).sum() / len(features)), 1e-30)
        inverse = np.where(kept, 1.0 / np.where(kept, roots, 1.0), 0.0)
        basis = (vectors * inverse).T @ centred / scale
        points = vectors * roots / scale
        return cls(points.astype(np.float32), basis.astype(np.float32), mean.astype(np.float32))

    def unrotate(
        self, weights: Float[np.ndarray, "n k"], bias: Float[np.ndarray, " k"]
    ) -> tuple[Float[np.ndarray, "d k"], Float[np.ndarray, " k"]]:
        """Turns weights and bias for `points` into kernel and bias for the features themselves."""
        kernel = self.basis.T @ weights
        return kernel, bias - self.mean @ kernel


@functools.partial(jax.jit, static_argnames=("num_classes",))
def solve(
    points: Float[Array, "n r"],
    labels: Int[Array, "f n"],
    weights: Float[Array, "f n"],
    l2: Float[Array, " l"],
    *,
    num_classes: int,
) -> tuple[Float[Array, "r k f l"], Float[Array, "k f l"]]:
    """Minimises mean cross-entropy + l2 / 2 * |kernel|^2 for F subsets and L penalties.

    It takes Nesterov's accelerated gradient steps with adaptive restarts (O'Donoghue and Candes
    2015). Coordinates are scaled by an upper bound of their curvature.

    Args:
      points: `RotatedFeatures.points`.
      labels: the classes, 0..K-1. Each fit may have its own.
      weights: how much each photo counts, 0 for those held out.
      l2: the penalties.
      num_classes: K.

    Returns:
      Weights and bias of all fits, float32. Their sums over the classes are 0.
    """
    contrast = _contrast(num_classes)
    # A fit without photos stays at its start.
    total = jnp.maximum(weights.sum(1, keepdims=True), 1e-9)
    share = (weights / total).T[:, None, :, None]  # (N, 1, F, 1)
    targets = jnp.moveaxis(jax.nn.one_hot(labels, num_classes), (1, 2), (0, 1))[..., None]
    # The curvature of the mean loss is at most half the mean square of a coordinate.
    curvature = 0.5 * (points**2).sum(0) * share.max()
    scale = 1.0 / jnp.sqrt(2.0 * curvature[:, None] + l2)[:, None, None]  # (R, 1, 1, L)
    # Photos or coordinates are the first axis and fits the last ones, for plain matrix products.
    shape = (num_classes - 1, len(weights), len(l2))
    gradient = functools.partial(
        _gradient,
        points=points,
        share=share,
        targets=targets,
        scale=scale,
        l2=l2,
        contrast=contrast,
    )

    def unfinished(carry: Carry) -> Array:
        return (carry[5] < MAX_STEPS) & (carry[6] > TOLERANCE)

    start, start_bias = jnp.zeros((points.shape[1], *shape)), jnp.zeros(shape)
    begin = start, start_bias, start, start_bias, jnp.ones(shape[1:])
    counters = jnp.zeros((), jnp.int32), jnp.full((), jnp.inf)
    step = functools.partial(_step, gradient=gradient, scale=scale)
    carry = jax.lax.while_loop(unfinished, step, (*begin, *counters))
    kernel = _along_classes(contrast, carry[0] * scale)
    return kernel, _along_classes(contrast, carry[1][None])[0]


def _gradient(
    kernel: Array,
    bias: Array,
    *,
    points: Array,
    share: Array,
    targets: Array,
    scale: Array,
    l2: Array,
    contrast: np.ndarray,
) -> tuple[Array, Array]:
    """The gradient in scaled coordinates, (R, K - 1, F, L), and that of the bias, (K - 1, F, L)."""
    shape = kernel.shape[1:]
    scores = points @ (kernel * scale).reshape(len(kernel), -1)
    scores = scores.reshape(len(points), *shape) + bias
    excess = jax.nn.softmax(_along_classes(contrast, scores), axis=1) - targets
    error = _along_classes(contrast.T, excess * share)
    back = (points.T @ error.reshape(len(points), -1)).reshape(kernel.shape)
    return (back + l2 * scale * kernel) * scale, error.sum(0)


def _step(
    carry: Carry, *, gradient: Callable[[Array, Array], tuple[Array, Array]], scale: Array
) -> Carry:
    """Takes an accelerated step of all fits."""
    kernel, bias, ahead, ahead_bias, pace, count, _ = carry
    slope, slope_bias = gradient(ahead, ahead_bias)
    new, new_bias = ahead - slope, ahead_bias - slope_bias
    # If a step goes uphill, the momentum is too large, and starts anew.
    uphill = (slope * (new - kernel)).sum((0, 1)) + (slope_bias * (new_bias - bias)).sum(0)
    pace = jnp.where(uphill > 0, 1.0, pace)
    next_pace = (1 + jnp.sqrt(1 + 4 * pace**2)) / 2
    momentum = (pace - 1) / next_pace
    ahead = new + momentum * (new - kernel)
    ahead_bias = new_bias + momentum * (new_bias - bias)
    largest = jnp.maximum(jnp.abs(slope / scale).max(), jnp.abs(slope_bias).max())
    return new, new_bias, ahead, ahead_bias, next_pace, count + 1, largest


def logits(
    points: Float[Array, "n r"], kernel: Float[Array, "r k f l"], bias: Float[Array, "k f l"]
) -> Float[Array, "n k f l"]:
    """Applies the fits of `solve` to points."""
    scores = points @ kernel.reshape(len(kernel), -1)
    return scores.reshape(len(points), *kernel.shape[1:]) + bias


def _along_classes(matrix: np.ndarray, values: Array) -> Array:
    """Multiplies a matrix along axis 1 of (N, C, F, L), by sums, without transposing the values."""
    terms = [[float(w) * values[:, c] for c, w in enumerate(row)] for row in matrix]
    return jnp.stack([functools.reduce(jnp.add, row) for row in terms], 1)


def _contrast(num_classes: int) -> np.ndarray:
    """Makes (K, K - 1) orthonormal columns, whose sums are 0.

    Softmax is invariant along the direction that is left out. In these coordinates the penalty is
    the same, and there is one coordinate fewer.
    """
    identity = np.eye(num_classes) - 1 / num_classes
    return np.linalg.svd(identity)[0][:, :-1]
