"""Applies a model to all images of a split, batch by batch, on all devices."""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Float, Shaped

from cifsel.data.images_on_disk import ImagesOnDisk
from cifsel.runtime import sharding
from cifsel.runtime.bars import image_bar


def map_batches(
    forward: Callable[[jax.Array], jax.Array],
    images: Shaped[np.ndarray, "n ..."] | ImagesOnDisk,
    batch_size: int,
    *,
    progress: str | None = None,
) -> Float[np.ndarray, "n ..."]:
    """Applies `forward` to every image exactly once, in batches of one fixed size.

    The last batch is filled up with copies of its last image, so that `forward` compiles for one
    shape only. The outputs for these copies are dropped.

    Args:
      forward: jitted (B, ...) -> (B, ...). Row i of the output depends on image i only, so batch
        norm must use its running statistics.
      images: images or feature maps, at least one.
      batch_size: images in each call, at least 1. It is rounded up to a multiple of the number of
        devices.
      progress: label of a progress bar with images/s and time left. None shows none.

    Returns:
      The outputs of all images, float32.

    Raises:
      ValueError: there are no images, or `batch_size` is below 1.
    """
    total = len(images)
    if total < 1 or batch_size < 1:
        raise ValueError(f"need images and a positive batch size, got {total} and {batch_size}")
    batch_size = sharding.divisible(batch_size)
    ahead = forward(_batch(images, 0, batch_size))
    # Results are written in place. A list of batches would be held beside the whole.
    outputs = np.empty((total, *ahead.shape[1:]), np.float32)
    with image_bar(progress) as bar:
        task = bar.add_task(progress or "", total=total)
        for start in range(0, total, batch_size):
            done, following = ahead, start + batch_size
            if following < total:
                # The next batch starts before this one is fetched, so that copying takes no time.
                ahead = forward(_batch(images, following, batch_size))
            outputs[start:following] = sharding.fetch(done)[: total - start]
            bar.update(task, completed=min(following, total))
    return outputs


def _batch(images: np.ndarray | ImagesOnDisk, start: int, size: int) -> jax.Array:
    """Returns images from `start` on, filled up to `size` with copies of the last one."""
    batch = images[start : start + size]
    copies = np.repeat(batch[-1:], size - len(batch), axis=0)
    return sharding.divide(np.concatenate([batch, copies]) if len(copies) else batch, 0)
