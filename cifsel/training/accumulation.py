"""Gradient accumulation: a batch passes through the model in parts, one after the other.

This saves memory on devices that cannot hold a whole batch's activations.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Tree = Any


class PassResult(NamedTuple):
    """The results of a forward pass over a batch, or a part of one, beside its gradient.

    Attributes:
      loss: summed cross-entropy, in nats.
      correct: number of images whose most probable class is the label.
      batch_stats: the model's batch statistics after the pass.
    """

    loss: Float[Array, ""]
    correct: Float[Array, ""]
    batch_stats: Tree


def accumulate(
    gradient: Callable[..., tuple[Tree, PassResult]],
    batch: dict[str, Array],
    batch_stats: Tree,
    key: Array,
    parts: int,
) -> tuple[Tree, PassResult]:
    """Computes the gradient of the mean loss over a batch.

    Args:
      gradient: (part of a batch, number of images in the whole batch, batch statistics, key) ->
        the part's share of the gradient, and its results.
      batch: arrays (B, ...). Rows with 0 in 'mask' do not count.
      batch_stats: batch statistics before the step. Each part starts from those of the one before.
      key: of dropout.
      parts: number of parts, a divisor of B. Row r goes to part r % parts, so that each part has
        rows of every device.

    Returns:
      The gradient, and the results summed over the parts.
    """
    images = jnp.sum(batch["mask"])
    if parts == 1:
        return gradient(batch, images, batch_stats, key)

    def add_part(
        carry: tuple[Tree, PassResult], numbered_part: tuple[dict[str, Array], Array]
    ) -> tuple[tuple[Tree, PassResult], None]:
        total, so_far = carry
        part, number = numbered_part
        part_key = jax.random.fold_in(key, number)
        grads, result = gradient(part, images, so_far.batch_stats, part_key)
        summed = PassResult(
            so_far.loss + result.loss, so_far.correct + result.correct, result.batch_stats
        )
        return (jax.tree.map(jnp.add, total, grads), summed), None

    def divide(array: Array) -> Array:
        return array.reshape(-1, parts, *array.shape[1:]).swapaxes(0, 1)

    divided = jax.tree.map(divide, batch)
    first_part = jax.tree.map(lambda array: array[0], divided)
    shapes = jax.eval_shape(gradient, first_part, images, batch_stats, key)
    grads, result = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    start = grads, result._replace(batch_stats=batch_stats)
    (total, result), _ = jax.lax.scan(add_part, start, (divided, jnp.arange(parts)))
    return total, result
