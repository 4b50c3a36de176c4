"""The cost of a model: its size, its arithmetic, its speed, and the time of its run."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from cifsel.evaluation.features import View
from cifsel.models.classifier import Classifier

Tree = Any


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a model and of its run.

    Attributes:
      parameters: number of parameters, without batch statistics.
      flops_per_image: floating-point operations of one forward pass of one image, as XLA counts
        them. None if XLA does not say.
      passes_per_image: forward passes to classify an image: 2 with mirroring, else 1.
      images_per_second: speed of classifying, measured on the test images.
      seconds: seconds of each phase of the run.
    """

    parameters: int
    flops_per_image: float | None
    passes_per_image: int
    images_per_second: float
    seconds: dict[str, float]


def measure(
    model: Classifier, variables: Tree, view: View, images: int, seconds: Mapping[str, float]
) -> Cost:
    """Computes the cost of a model.

    Args:
      model: the classifier.
      variables: its `params` and `batch_stats`.
      view: how images are shown to it.
      images: number of test images.
      seconds: seconds of each phase of the run. 'test' is that of classifying the test images.
        It comes after 'val', so that it does not include compiling.
    """
    image = jax.ShapeDtypeStruct((1, view.image_size, view.image_size, 3), jnp.float32)
    analysis = jax.jit(model.apply).lower(variables, image).cost_analysis() or {}
    return Cost(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(variables["params"])),
        flops_per_image=analysis.get("flops"),
        passes_per_image=2 if view.mirror else 1,
        images_per_second=images / seconds["test"],
        seconds=dict(seconds),
    )
