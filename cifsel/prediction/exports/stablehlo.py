"""StableHLO by jax.export: for any program that has JAX, on a CPU, a GPU or a TPU."""

import jax
import jax.numpy as jnp
import numpy as np

from cifsel.prediction.exports.computation import Computation
from cifsel.prediction.exports.parity import Answers

PLATFORMS = ("cpu", "cuda", "tpu")


def convert(compute: Computation, size: int) -> bytes:
    """Serialises a computation for all PLATFORMS and any number of images.

    Args:
      compute: the function of images.
      size: side of the images.
    """
    (batch,) = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.uint8)
    # By default, GPUs and TPUs round the factors of products, which CPUs do not.
    with jax.default_matmul_precision("highest"):
        exported = jax.export.export(jax.jit(compute), platforms=PLATFORMS)(images)
    return bytes(exported.serialize())


def answers(content: bytes) -> Answers:
    """The function of a file."""
    exported = jax.export.deserialize(bytearray(content))
    return lambda images: np.asarray(exported.call(jnp.asarray(images)))
