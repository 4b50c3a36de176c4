"""Linear probe: multinomial logistic regression on cached features of a fixed backbone.

The problem is convex, so its solution depends on the features and the penalty alone. There is no
learning rate, no schedule and no seed. The penalty is chosen on the validation images.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Int32

Weights = dict[str, Array]  # 'kernel' (D, K) and 'bias' (K,), float32

# The search for a penalty ends here. Below, the penalty has no effect. Above, the features have
# none.
SMALLEST_L2, LARGEST_L2 = 1e-9, 1e3
# Losses in float32 that differ by less than this many nats count as equal.
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Search:
    """How to search for the penalty.

    Attributes:
      l2_grid: penalties to begin with. l2 / 2 times the squared norm of the standardised kernel is
        added to the mean loss.
      max_steps: largest number of L-BFGS iterations for a penalty.
      tolerance: gradient norm at which a solution is accepted.
    """

    l2_grid: tuple[float, ...]
    max_steps: int
    tolerance: float


@dataclasses.dataclass(frozen=True)
class Trial:
    """A penalty that was tried.

    Attributes:
      l2: the penalty.
      train_loss: mean cross-entropy of the training images in nats, without the penalty.
      val_loss: the same of the validation images.
      val_accuracy: share of the validation images that are classified right.
      steps: L-BFGS iterations.
      gradient_norm: norm of the gradient at the end.
    """

    l2: float
    train_loss: float
    val_loss: float
    val_accuracy: float
    steps: int
    gradient_norm: float


@dataclasses.dataclass(frozen=True)
class Solution:
    """The chosen classifier. It takes features as they are, not standardised ones.

    Attributes:
      kernel: weights of the features.
      bias: of each class.
      chosen: the trial that they come from.
      trials: all trials, by ascending penalty.
    """

    kernel: Float[np.ndarray, "d k"]
    bias: Float[np.ndarray, " k"]
    chosen: Trial
    trials: tuple[Trial, ...]

    def logits(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Computes logits of features."""
        return features @ self.kernel + self.bias

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON form of the trials, without the weights."""
        return {
            "l2": self.chosen.l2,
            "chosen": dataclasses.asdict(self.chosen),
            "trials": [dataclasses.asdict(trial) for trial in self.trials],
        }


class Labelled(NamedTuple):
    """Features with labels."""

    features: Float[np.ndarray, "n d"]
    labels: Int[np.ndarray, " n"]


def fit(
    train: Labelled,
    val: Labelled,
    num_classes: int,
    search: Search,
    class_weights: Float[np.ndarray, " k"] | None = None,
) -> Solution:
    """Solves for every penalty of a grid and keeps the one of least validation loss.

    The loss decides and not the accuracy, because it varies smoothly with the penalty, while the
    accuracy on a few thousand images jumps. Of penalties whose losses are equal up to rounding,
    the largest is kept. While the best penalty is at an end of the grid, the grid grows there by a
    factor of ten. Then the half-decades on both sides of the best are tried.

    Args:
      train: features and labels of the training images.
      val: the same of the validation images.
      num_classes: K.
      search: how to search for the penalty.
      class_weights: by which the losses of a class's images count, training and validation. None
        if all images count the same.
    """
    mean = train.features.mean(0, dtype=np.float64).astype(np.float32)
    std = train.features.std(0, dtype=np.float64).astype(np.float32)
    # A feature that never varies has no information. Dividing its rounding error by its tiny
    # spread would make it look as if it had.
    std = np.where(std > 1e-6 * np.maximum(np.abs(mean), 1.0), std, np.float32(np.inf))
    x, y = standardise(train.features, mean, std), jnp.asarray(train.labels)
    val_x, val_y = standardise(val.features, mean, std), jnp.asarray(val.labels)
    weight = val_weight = None
    if class_weights is not None:
        weight, val_weight = (jnp.asarray(class_weights[part.labels]) for part in (train, val))

    solved: dict[float, tuple[Trial, Weights]] = {}

    def attempt(l2: float) -> None:
        # The solution of the nearest penalty is the best start.
        near = min(solved, key=lambda other: abs(np.log(other / l2)), default=None)
        start = zero_weights(x.shape[1], num_classes) if near is None else solved[near][1]
        weights, steps, norm = solve(
            x,
            y,
            jnp.float32(l2),
            start,
            weight,
            max_steps=search.max_steps,
            tolerance=search.tolerance,
        )
        val_logits = logits(weights, val_x)
        trial = Trial(
            l2=l2,
            train_loss=float(cross_entropy(logits(weights, x), y, weight)),
            val_loss=float(cross_entropy(val_logits, val_y, val_weight)),
            val_accuracy=float(jnp.mean(val_logits.argmax(-1) == val_y)),
            steps=int(steps),
            gradient_norm=float(norm),
        )
        solved[l2] = trial, weights

    def best() -> float:
        # Very small penalties all give the same loss up to rounding. The largest of them is
        # nearest to the penalties that have an effect.
        least = min(trial.val_loss for trial, _ in solved.values())
        return max(l2 for l2, (trial, _) in solved.items() if trial.val_loss <= least + _ROUNDING)

    for l2 in sorted(search.l2_grid, reverse=True):
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
def standardise(
    x: Float[Array, "n d"], mean: Float[Array, " d"], std: Float[Array, " d"]
) -> Float[Array, "n d"]:
    """Computes the distance from the mean in units of the standard deviation."""
    return (x - mean[None]) / std[None]


def zero_weights(features: int, num_classes: int) -> Weights:
    """Makes weights for which all classes are equally likely."""
    return {"kernel": jnp.zeros((features, num_classes)), "bias": jnp.zeros(num_classes)}


def logits(weights: Weights, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """Computes logits of standardised features."""
    # With its default precision, a TPU rounds the factors to bfloat16. That noise would end the
    # search early.
    return jnp.matmul(x, weights["kernel"], precision="highest") + weights["bias"][None]


def cross_entropy(
    logits: Float[Array, "n k"],
    labels: Int[Array, " n"],
    weights: Float[Array, " n"] | None = None,
) -> Float[Array, ""]:
    """Computes the mean cross-entropy over images, in nats, weighted if there are weights."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses.mean() if weights is None else jnp.sum(losses * weights) / jnp.sum(weights)


@functools.partial(jax.jit, static_argnames=("max_steps", "tolerance"))
def solve(
    x: Float[Array, "n d"],
    y: Int[Array, " n"],
    l2: Float[Array, ""],
    start: Weights,
    image_weights: Float[Array, " n"] | None = None,
    *,
    max_steps: int,
    tolerance: float,
) -> tuple[Weights, Int32[Array, ""], Float[Array, ""]]:
    """Minimises mean cross-entropy + l2 / 2 * |kernel|^2 by L-BFGS. The bias is not penalised.

    Args:
      x: standardised features.
      y: labels.
      l2: the penalty.
      start: initial weights.
      image_weights: by which the loss of each image counts. None if all count the same.
      max_steps: largest number of iterations.
      tolerance: norm of the gradient to stop at.

    Returns:
      The weights, the number of iterations done, and the final norm of the gradient.
    """

    def objective(weights: Weights) -> Array:
        penalty = 0.5 * l2 * jnp.sum(weights["kernel"] ** 2)
        return cross_entropy(logits(weights, x), y, image_weights) + penalty

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
