"""Regularised logistic regression on a few photos, for thousands of subsets of them at once.

The features of N photos are rotated to at most N coordinates first, which changes nothing: a
solution lies in the span of its training photos, and the L2 penalty does not see rotations. In
these coordinates every subset and penalty shares one small matrix, so that a step of all fits is
two matrix products.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array
Carry = tuple[Array, Array, Array, Array, Array, Array, Array]

# Of the gradient of the mean loss, in nats. Probabilities are then within .0001 of the solution's
# from a penalty of 1e-3 up, and within about .01 at 1e-4.
TOLERANCE = 1e-5
MAX_STEPS = 1000


@dataclasses.dataclass(frozen=True)
class Rotated:
    """Features of N photos in the coordinates of their own principal components.

    Attributes:
      points: (N, N) float32, centred; mean squared norm 1, so that a penalty means the same for
        all kinds of features. Columns beyond the rank are 0.
      basis: (N, D) float32; points = (features - mean) @ basis.T.
      mean: (D,) float32.
    """

    points: np.ndarray
    basis: np.ndarray
    mean: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> "Rotated":
        """Rotates (N, D) features; no label has a say, and neither has scale."""
        mean = features.mean(0, dtype=np.float64)
        centred = features - mean
        # Of the Gram matrix, as D may be a thousand times N.
        squares, vectors = np.linalg.eigh(centred @ centred.T)
        squares, vectors = squares[::-1], vectors[:, ::-1]
        kept = squares > 1e-9 * max(squares[0], 1e-30)
        roots = np.sqrt(np.where(kept, squares, 0.0))
        scale = max(np.sqrt(np.where(kept, squares, 0.0).sum() / len(features)), 1e-30)
        inverse = np.where(kept, 1.0 / np.where(kept, roots, 1.0), 0.0)
        basis = (vectors * inverse).T @ centred / scale
        points = vectors * roots / scale
        return cls(points.astype(np.float32), basis.astype(np.float32), mean.astype(np.float32))

    def unrotate(self, weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights (N, K) and bias (K,) as kernel (D, K) and bias (K,) for the features."""
        kernel = self.basis.T @ weights
        return kernel, bias - self.mean @ kernel


@functools.partial(jax.jit, static_argnames=("num_classes",))
def solve(
    points: Array, labels: Array, weights: Array, l2: Array, *, num_classes: int
) -> tuple[Array, Array]:
    """Minimises mean cross-entropy + l2 / 2 * |kernel|^2 for F subsets and L penalties.

    Nesterov's method with restarts, scaled by the curvature that the points allow at most.

    Args:
      points: (N, R) float32, `Rotated.points`.
      labels: (F, N) int32; each fit may have its own.
      weights: (F, N) float32, how much each photo counts; 0 for those held out.
      l2: (L,) float32.
      num_classes: K.

    Returns:
      Weights (R, K, F, L) and bias (K, F, L), float32, whose sums over classes are 0.
    """
    contrast = _contrast(num_classes)
    photos, rank = points.shape
    # A fit without photos stays at its start.
    total = jnp.maximum(weights.sum(1, keepdims=True), 1e-9)
    share = (weights / total).T[:, None, :, None]  # (N, 1, F, 1)
    targets = jnp.moveaxis(jax.nn.one_hot(labels, num_classes), (1, 2), (0, 1))[..., None]
    # The curvature of the mean loss is at most half the mean square of a coordinate.
    most = 0.5 * (points**2).sum(0) * share.max()
    scale = 1.0 / jnp.sqrt(2.0 * most[:, None] + l2)[:, None, None]  # (R, 1, 1, L)
    # Photos or coordinates come first and all fits last: a step is two plain matrix products.
    shape = (num_classes - 1, len(weights), len(l2))

    def gradient(kernel: Array, bias: Array) -> tuple[Array, Array]:
        scores = points @ (kernel * scale).reshape(rank, -1)
        scores = scores.reshape(photos, *shape) + bias
        excess = jax.nn.softmax(_along_classes(contrast, scores), axis=1) - targets
        error = _along_classes(contrast.T, excess * share)
        back = (points.T @ error.reshape(photos, -1)).reshape(rank, *shape)
        return (back + l2 * scale * kernel) * scale, error.sum(0)

    def step(carry: Carry) -> Carry:
        kernel, bias, ahead, ahead_bias, pace, count, _ = carry
        slope, slope_bias = gradient(ahead, ahead_bias)
        new, new_bias = ahead - slope, ahead_bias - slope_bias
        # Going uphill means that the momentum is too large: start it anew.
        uphill = (slope * (new - kernel)).sum((0, 1)) + (slope_bias * (new_bias - bias)).sum(0)
        pace = jnp.where(uphill > 0, 1.0, pace)
        next_pace = (1 + jnp.sqrt(1 + 4 * pace**2)) / 2
        momentum = (pace - 1) / next_pace
        ahead = new + momentum * (new - kernel)
        ahead_bias = new_bias + momentum * (new_bias - bias)
        largest = jnp.maximum(jnp.abs(slope / scale).max(), jnp.abs(slope_bias).max())
        return new, new_bias, ahead, ahead_bias, next_pace, count + 1, largest

    def unfinished(carry: Carry) -> Array:
        return (carry[5] < MAX_STEPS) & (carry[6] > TOLERANCE)

    start, start_bias = jnp.zeros((rank, *shape)), jnp.zeros(shape)
    begin = start, start_bias, start, start_bias, jnp.ones(shape[1:])
    counters = jnp.zeros((), jnp.int32), jnp.full((), jnp.inf)
    carry = jax.lax.while_loop(unfinished, step, (*begin, *counters))
    kernel = _along_classes(contrast, carry[0] * scale)
    return kernel, _along_classes(contrast, carry[1][None])[0]


def logits(points: Array, kernel: Array, bias: Array) -> Array:
    """(N, R) points by what `solve` returns -> (N, K, F, L)."""
    scores = points @ kernel.reshape(len(kernel), -1)
    return scores.reshape(len(points), *kernel.shape[1:]) + bias


def _along_classes(matrix: np.ndarray, values: Array) -> Array:
    """Multiplies along axis 1 of (N, C, F, L): sums, as a product would move everything round."""
    terms = [[float(w) * values[:, c] for c, w in enumerate(row)] for row in matrix]
    return jnp.stack([functools.reduce(jnp.add, row) for row in terms], 1)


def _contrast(num_classes: int) -> np.ndarray:
    """(K, K - 1), orthonormal columns that sum to 0: softmax does not see the direction left out.

    The penalty is the same in these coordinates, and there is one fewer of them.
    """
    identity = np.eye(num_classes) - 1 / num_classes
    return np.linalg.svd(identity)[0][:, :-1]
