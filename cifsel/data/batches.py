"""The images that make up each batch. Every image counts exactly once, whatever the batch size.

A last batch that is not full is filled up with images from the beginning of the same order. A mask
says which rows count. Filling up with real images, not zeros, keeps batch statistics those of
images.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32, PRNGKeyArray


def epoch_batches(
    key: PRNGKeyArray, n: int, batch_size: int
) -> tuple[Int32[Array, "steps {batch_size}"], Float32[Array, "steps {batch_size}"]]:
    """Makes the batches of one epoch in random order.

    Works under `jax.jit`, with `n` and `batch_size` static.

    Args:
      key: a key of `jax.random`.
      n: number of images, 1 or more.
      batch_size: 1 or more, may exceed `n`.

    Returns:
      Positions in 0..n-1, and mask: 1 for each position once, 0 for its repetitions. `steps` is
      `n / batch_size` rounded up.
    """
    positions, mask = eval_batches(n, batch_size)
    return jax.random.permutation(key, n)[positions], jnp.asarray(mask)


def eval_batches(
    n: int, batch_size: int
) -> tuple[Int32[np.ndarray, "steps {batch_size}"], Float32[np.ndarray, "steps {batch_size}"]]:
    """Makes batches in order. Row after row, the positions under the mask's ones are 0..n-1.

    Raises:
      ValueError: `n` or `batch_size` is less than 1.
    """
    if n < 1 or batch_size < 1:
        raise ValueError(f"n and batch_size must be 1 or more, got {n} and {batch_size}")
    steps = -(-n // batch_size)
    counter = np.arange(steps * batch_size, dtype=np.int32).reshape(steps, batch_size)
    return counter % n, (counter < n).astype(np.float32)
