"""Which images make up each batch. Every image counts exactly once, whatever the batch size.

A last batch that is not full is filled up with images from the beginning of the same order, and the
mask says which rows count. Real images rather than zeros, so that batch statistics stay those of
images.
"""

import jax
import jax.numpy as jnp
import numpy as np


def epoch_batches(key: jax.Array, n: int, batch_size: int) -> tuple[jax.Array, jax.Array]:
    """One epoch in random order. Works under `jax.jit`, with `n` and `batch_size` static.

    Args:
      key: a key of `jax.random`.
      n: number of images, 1 or more.
      batch_size: 1 or more; may exceed `n`.

    Returns:
      Positions, int32 (steps, batch_size) in 0..n-1, and mask, float32 (steps, batch_size): 1 for
      each position once, 0 for its repetitions. `steps` is `n / batch_size` rounded up.
    """
    positions, mask = eval_batches(n, batch_size)
    return jax.random.permutation(key, n)[positions], jnp.asarray(mask)


def eval_batches(n: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The same in order, as NumPy arrays: row after row of the mask's ones is 0..n-1."""
    if n < 1 or batch_size < 1:
        raise ValueError(f"n and batch_size must be 1 or more, got {n} and {batch_size}")
    steps = -(-n // batch_size)
    counter = np.arange(steps * batch_size, dtype=np.int32).reshape(steps, batch_size)
    return counter % n, (counter < n).astype(np.float32)
