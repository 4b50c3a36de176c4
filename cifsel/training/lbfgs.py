"""Multinomial logistic regression with an L2 penalty, solved by L-BFGS on the device."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Int32

Weights = dict[str, Array]  # 'kernel' (D, K) and 'bias' (K,), float32


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
    objective = functools.partial(_penalised, x=x, y=y, l2=l2, image_weights=image_weights)
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


def _penalised(
    weights: Weights, *, x: Array, y: Array, l2: Array, image_weights: Array | None
) -> Array:
    penalty = 0.5 * l2 * jnp.sum(weights["kernel"] ** 2)
    return cross_entropy(logits(weights, x), y, image_weights) + penalty
