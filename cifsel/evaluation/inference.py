"""Applies a model to all images of a split, batch by batch, on all devices."""

from collections.abc import Callable

import jax
import numpy as np

from cifsel.runtime import sharding
from cifsel.terminal import image_bar


def map_batches(
    forward: Callable[[jax.Array], jax.Array],
    images: np.ndarray,
    batch_size: int,
    *,
    progress: str | None = None,
) -> np.ndarray:
    """Applies `forward` to every image exactly once, in batches of one fixed size.

    The last batch is filled up with copies of its last image, so that `forward` compiles for one
    shape only; what it gives for these copies is dropped.

    Args:
      forward: Jitted; takes (batch_size, H, W, 3) uint8 and gives (batch_size, D), where row i
        depends on image i only (so batch norm must use its running statistics).
      images: (N, H, W, 3) uint8, N >= 1.
      batch_size: Images in each call, >= 1; more if that many devices cannot share them equally.
      progress: Label of a progress bar with images/s and time left; None shows none.

    Returns:
      (N, D) float32: logits, features, or whatever `forward` computes.

    Raises:
      ValueError: There are no images, or batch_size is below 1.
    """
    total = len(images)
    if total < 1 or batch_size < 1:
        raise ValueError(f"need images and a positive batch size, got {total} and {batch_size}")
    batch_size = sharding.divisible(batch_size)
    ahead = forward(_batch(images, 0, batch_size))
    # Written in place: a list of batches would be held beside the whole.
    outputs = np.empty((total, *ahead.shape[1:]), np.float32)
    with image_bar(progress) as bar:
        task = bar.add_task(progress or "", total=total)
        for start in range(0, total, batch_size):
            done, following = ahead, start + batch_size
            if (
                following < total
            ):  # Begun before the last one is fetched: the host copies meanwhile.
                ahead = forward(_batch(images, following, batch_size))
            outputs[start:following] = sharding.fetch(done)[: total - start]
            bar.update(task, completed=min(following, total))
    return outputs


def _batch(images: np.ndarray, start: int, size: int) -> jax.Array:
    """Images from `start` on, filled up to `size` with copies of the last, for all devices."""
    batch = images[start : start + size]
    copies = np.repeat(batch[-1:], size - len(batch), axis=0)
    return sharding.divide(np.concatenate([batch, copies]) if len(copies) else batch, 0)
