"""The inputs of the training loop: plan, examples, functions of the model, places to write to."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Int32, Shaped

from cifsel.data.images_on_disk import ImagesOnDisk
from cifsel.training import profiling
from cifsel.training.state import TrainState
from cifsel.training.steps import Batch, ScanSteps
from cifsel.workdir.checkpoints import Checkpoints
from cifsel.workdir.summaries import Writer

Tree = Any


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long to train, and when to save and stop. The fields are those of a config.

    Attributes:
      epochs: passes over the training images.
      batch_size: images per step.
      eval_batch_size: images per forward pass over the validation images.
      patience: epochs without a better validation accuracy before stopping, 0 for never.
      steps_per_call: steps in one call of the scan, 0 for a whole epoch.
      checkpoint_minutes: minutes between checkpoints within an epoch.
      profile_steps: gradient steps to trace, 0 for none.
      seed: of shuffling, augmentation and dropout.
    """

    epochs: int
    batch_size: int
    eval_batch_size: int
    patience: int
    steps_per_call: int
    checkpoint_minutes: float
    profile_steps: int
    seed: int

    def steps_per_epoch(self, examples: int) -> int:
        """Returns the number of steps in which each of the training images is seen once."""
        return -(-examples // self.batch_size)


class Examples(NamedTuple):
    """Inputs of the model, images or feature maps, with labels."""

    inputs: Shaped[np.ndarray, "n ..."] | ImagesOnDisk
    labels: Int32[np.ndarray, " n"]


@dataclasses.dataclass(frozen=True)
class Functions:
    """The functions of a model that the loop calls.

    Attributes:
      scan: from `steps.make_scan`.
      predict: jitted (variables, inputs (B, ...)) -> logits (B, K).
      learning_rate: step -> learning rate of the head, for reports.
      diagnose: (state, batch, key) of a failed step -> name of the first value that is not finite.
    """

    scan: ScanSteps
    predict: Callable[[Tree, jax.Array], jax.Array]
    learning_rate: Callable[[int], Any]
    diagnose: Callable[[TrainState, Batch, jax.Array], str]


@dataclasses.dataclass(frozen=True)
class Output:
    """The places that the loop writes to.

    Attributes:
      checkpoints: of the run.
      meta: what a checkpoint says about the model, JSON-ready. The loop adds the progress.
      writer: of TensorBoard summaries.
      trace: is told of every call of the scan, and traces some.
    """

    checkpoints: Checkpoints
    meta: dict[str, Any]
    writer: Writer
    trace: profiling.Trace
