"""Linear probe: multinomial logistic regression on cached features of a fixed backbone.

The problem is convex, so its solution depends on the features and the penalty alone: no learning
rate, no schedule, no seed. The penalty is chosen on the validation images.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

Array = jax.Array
Weights = dict[str, Array]

# Beyond these the features are ignored, or the penalty is: a best value there is no maximum.
SMALLEST_L2, LARGEST_L2 = 1e-9, 1e3
# Losses of a few nats in float32 that differ by less say nothing.
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Trial:
    """A penalty that was tried. Losses are mean cross-entropies in nats, without the penalty."""

    l2: float
    train_loss: float
    val_loss: float
    val_accuracy: float
    steps: int
    gradient_norm: float


@dataclasses.dataclass(frozen=True)
class Solution:
    """The chosen classifier, on features as they are, not standardised.

    Attributes:
      kernel: (D, K) float32.
      bias: (K,) float32.
      chosen: the trial it came from.
      trials: all of them, by ascending penalty.
    """

    kernel: np.ndarray
    bias: np.ndarray
    chosen: Trial
    trials: tuple[Trial, ...]


def fit(
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    *,
    num_classes: int,
    l2_grid: Sequence[float],
    max_steps: int,
    tolerance: float,
) -> Solution:
    """Solves for every penalty of a grid and keeps the one of least validation loss.

    Of penalties with the same loss, but for rounding, it keeps the largest.

    The loss and not the accuracy decides: it varies smoothly with the penalty, where accuracy on
    a few thousand images jumps. While the best is at an end of the grid, the grid grows there by a
    factor of ten; then the half-decades on both sides of the best are tried.

    Args:
      train: features (N, D) float32 and labels (N,) int32.
      val: the same, of the validation images.
      num_classes: K.
      l2_grid: penalties to begin with; l2 / 2 times the squared norm of the standardised kernel
        is added to the mean loss.
      max_steps: most L-BFGS iterations for a penalty.
      tolerance: gradient norm at which a solution is accepted.
    """
    mean = train[0].mean(0, dtype=np.float64).astype(np.float32)
    std = train[0].std(0, dtype=np.float64).astype(np.float32)
    # A feature that never varies tells nothing; its rounding error over its spread would.
    std = np.where(std > 1e-6 * np.maximum(np.abs(mean), 1.0), std, np.float32(np.inf))
    x, y = standardise(train[0], mean, std), jnp.asarray(train[1])
    val_x, val_y = standardise(val[0], mean, std), jnp.asarray(val[1])

    solved: dict[float, tuple[Trial, Weights]] = {}

    def attempt(l2: float) -> None:
        # The nearest solution is the best start.
        near = min(solved, key=lambda other: abs(np.log(other / l2)), default=None)
        start = zero_weights(x.shape[1], num_classes) if near is None else solved[near][1]
        weights, steps, norm = solve(
            x, y, jnp.float32(l2), start, max_steps=max_steps, tolerance=tolerance
        )
        val_logits = logits(weights, val_x)
        trial = Trial(
            l2=l2,
            train_loss=float(cross_entropy(logits(weights, x), y)),
            val_loss=float(cross_entropy(val_logits, val_y)),
            val_accuracy=float(jnp.mean(val_logits.argmax(-1) == val_y)),
            steps=int(steps),
            gradient_norm=float(norm),
        )
        solved[l2] = trial, weights

    def best() -> float:
        # Where penalties are too small to matter, rounding would decide, and lead away from those
        # that do.
        least = min(trial.val_loss for trial, _ in solved.values())
        return max(l2 for l2, (trial, _) in solved.items() if trial.val_loss <= least + _ROUNDING)

    for l2 in sorted(l2_grid, reverse=True):
        attempt(l2)
    while best() == min(solved) and best() / 10 >= SMALLEST_L2:
        attempt(best() / 10)
    while best() == max(solved) and best() * 10 <= LARGEST_L2:
        attempt(best() * 10)
    centre = best()
    for l2 in (centre / 10**0.5, centre * 10**0.5):
        attempt(l2)

    chosen, weights = solved[best()]
    kernel = np.asarray(weights["kernel"]) / std[:, None]
    return Solution(
        kernel=kernel,
        bias=np.asarray(weights["bias"]) - mean @ kernel,
        chosen=chosen,
        trials=tuple(solved[l2][0] for l2 in sorted(solved)),
    )


@jax.jit
def standardise(x: Array, mean: Array, std: Array) -> Array:
    """(N, D) in units of the standard deviations (D,) from the means (D,)."""
    return (x - mean) / std


def zero_weights(features: int, num_classes: int) -> Weights:
    """The start: all classes equally likely."""
    return {"kernel": jnp.zeros((features, num_classes)), "bias": jnp.zeros(num_classes)}


def logits(weights: Weights, x: Array) -> Array:
    """(N, D) -> (N, K)."""
    # A TPU would round the factors to bfloat16, and the search would end in the noise of that.
    return jnp.matmul(x, weights["kernel"], precision="highest") + weights["bias"]


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Mean over images, in nats."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


@functools.partial(jax.jit, static_argnames=("max_steps", "tolerance"))
def solve(
    x: Array, y: Array, l2: Array, start: Weights, *, max_steps: int, tolerance: float
) -> tuple[Weights, Array, Array]:
    """Minimises mean cross-entropy + l2 / 2 * |kernel|^2 by L-BFGS.

    Args:
      x: (N, D) float32, standardised.
      y: (N,) int32.
      l2: () float32; the bias is not penalised.
      start: initial weights.
      max_steps: most iterations.
      tolerance: norm of the gradient to stop at.

    Returns:
      Weights, iterations done, and the final norm of the gradient.
    """

    def objective(weights: Weights) -> Array:
        penalty = 0.5 * l2 * jnp.sum(weights["kernel"] ** 2)
        return cross_entropy(logits(weights, x), y) + penalty

    optimizer = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(objective)

    def step(carry: tuple[Weights, Any, Array, Array]) -> tuple[Weights, Any, Array, Array]:
        weights, state, count, _ = carry
        value, grad = value_and_grad(weights, state=state)
        updates, state = optimizer.update(
            grad, state, weights, value=value, grad=grad, value_fn=objective
        )
        return optax.apply_updates(weights, updates), state, count + 1, optax.tree.norm(grad)

    def unfinished(carry: tuple[Weights, Any, Array, Array]) -> Array:
        _, _, count, norm = carry
        return (count < max_steps) & (norm > tolerance)

    carry = start, optimizer.init(start), jnp.int32(0), jnp.float32(jnp.inf)
    weights, _, count, norm = jax.lax.while_loop(unfinished, step, carry)
    return weights, count, norm
