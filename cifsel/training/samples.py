"""Training images as a step would see them, for people to look at."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from cifsel.data import augment
from cifsel.data.images_on_disk import ImagesOnDisk
from cifsel.training.objective import Objective


def augmented_samples(
    objective: Objective,
    seed: int,
    images: UInt8[np.ndarray, "n h w 3"] | ImagesOnDisk,
    count: int = 32,
) -> UInt8[np.ndarray, "_ s s 3"]:
    """Augments `count` images, taken evenly from all images, as the objective says.

    Args:
      objective: gives the augmentation and the image size S.
      seed: of the augmentation.
      images: training images, in the order of their classes.
      count: number of samples.
    """
    augment_key, mix_key = jax.random.split(jax.random.key(seed))

    @jax.jit  # Run operation by operation, it would take longer than some runs' training.
    def augmented(images: jax.Array) -> jax.Array:
        images = augment.augment_images(
            augment_key, images, objective.policy, objective.image_size, objective.resize
        )
        images, _ = augment.mix(mix_key, images, jnp.ones((len(images), 1)), objective.policy)
        return images.round().astype(jnp.uint8)

    return np.asarray(augmented(images[:: max(1, len(images) // count)][:count]))
