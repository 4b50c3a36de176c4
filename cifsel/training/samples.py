"""Training images as a step would see them, for people to look at."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from cifsel.data import augment
from cifsel.data.splits import Split
from cifsel.training.objective import Objective


class Samples(NamedTuple):
    """Training images with their labels.

    Attributes:
      images: as the model sees them.
      targets: each row is a distribution over the classes. Mixed images have two.
    """

    images: UInt8[np.ndarray, "n s s 3"]
    targets: Float[np.ndarray, "n k"]


def training_samples(
    objective: Objective, seed: int, split: Split, num_classes: int, count: int = 32
) -> Samples:
    """Augments `count` images, taken evenly from all images, as the objective says.

    Args:
      objective: gives the augmentation and the image size S.
      seed: of the augmentation.
      split: training images, in the order of their classes.
      num_classes: K.
      count: number of samples.
    """
    augment_key, mix_key = jax.random.split(jax.random.key(seed))

    @jax.jit  # Run operation by operation, it would take longer than some runs' training.
    def augmented(images: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        images = augment.augment_images(
            augment_key, images, objective.policy, objective.image_size, objective.resize
        )
        images, targets = augment.mix(mix_key, images, targets, objective.policy)
        return images.round().astype(jnp.uint8), targets

    step = max(1, len(split) // count)
    labels = split.labels[::step][:count]
    images, targets = augmented(split.images[::step][:count], jax.nn.one_hot(labels, num_classes))
    return Samples(np.asarray(images), np.asarray(targets))
