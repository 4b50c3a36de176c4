"""The gradient over a batch in parts, one after the other, for devices that hold no whole one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array
Tree = Any


class Found(NamedTuple):
    """What a pass over (a part of) a batch brings beside gradients: sums, and new statistics."""

    loss: Array
    correct: Array
    batch_stats: Tree


def in_parts(
    gradient: Callable[..., tuple[Tree, Found]],
    batch: dict[str, Array],
    batch_stats: Tree,
    key: Array,
    parts: int,
) -> tuple[Tree, Found]:
    """The gradient of the mean loss over a batch.

    Args:
      gradient: (part of a batch, images in the whole, batch statistics, key) -> what the part adds
        to the gradient, and what was found.
      batch: arrays (B, ...), with 0 in 'mask' for rows that do not count.
      batch_stats: those before; each part goes on with those of the part before.
      key: of dropout.
      parts: how many, a divisor of B. Each has rows of every device: row r is in part r % parts.
    """
    images = jnp.sum(batch["mask"])
    if parts == 1:
        return gradient(batch, images, batch_stats, key)

    def add(
        carry: tuple[Tree, Found], rows: tuple[dict[str, Array], Array]
    ) -> tuple[tuple[Tree, Found], None]:
        total, found = carry
        part, number = rows
        part_key = jax.random.fold_in(key, number)
        grads, new = gradient(part, images, found.batch_stats, part_key)
        sums = Found(found.loss + new.loss, found.correct + new.correct, new.batch_stats)
        return (jax.tree.map(jnp.add, total, grads), sums), None

    def divided(array: Array) -> Array:
        return array.reshape(-1, parts, *array.shape[1:]).swapaxes(0, 1)

    each = jax.tree.map(divided, batch)
    first = jax.tree.map(lambda array: array[0], each)
    shapes = jax.eval_shape(gradient, first, images, batch_stats, key)
    grads, found = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    start = grads, found._replace(batch_stats=batch_stats)
    (total, found), _ = jax.lax.scan(add, start, (each, jnp.arange(parts)))
    return total, found
