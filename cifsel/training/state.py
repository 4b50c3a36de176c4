"""The state of training: everything that a gradient step changes."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

Tree = Any
# An array, or its shape under jax.eval_shape, which makes states too.
Leaf = Any


@struct.dataclass
class EpochSums:
    """Running sums over the images of an epoch, all () float32."""

    loss: Leaf
    correct: Leaf
    images: Leaf
    grad_norm: Leaf
    steps: Leaf

    @classmethod
    def zero(cls) -> "EpochSums":
        """The sums at the start of an epoch."""
        return cls(*(jnp.zeros(()) for _ in dataclasses.fields(cls)))


@struct.dataclass
class TrainState:
    """Everything that a step changes.

    Attributes:
      step: () int32, number of steps done.
      params: {'backbone', 'head'}, float32.
      batch_stats: {'backbone'}, float32.
      opt_state: the state of optax's optimizer.
      average: {'params', 'batch_stats'} averaged over steps, or {} without averaging.
      sums: of the current epoch.
      failed: () bool, whether the loss or gradient of the next step was not finite. Then the state
        stays as it was before that step.
    """

    step: Leaf
    params: Tree
    batch_stats: Tree
    opt_state: Tree
    average: Tree
    sums: EpochSums
    failed: Leaf

    def next_epoch(self) -> "TrainState":
        """Returns the same state with the sums at zero."""
        return dataclasses.replace(self, sums=EpochSums.zero())

    def variables(self) -> Tree:
        """Returns the variables to evaluate and keep: the averaged ones where there are any."""
        return self.average or {"params": self.params, "batch_stats": self.batch_stats}


def init_state(variables: Tree, tx: optax.GradientTransformation, ema_decay: float) -> TrainState:
    """Makes the state before the first step.

    It copies `variables`, since steps donate the buffers of their state.
    """
    variables = jax.tree.map(jnp.array, variables)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=tx.init(variables["params"]),
        average=jax.tree.map(jnp.array, variables) if ema_decay else {},
        sums=EpochSums.zero(),
        failed=jnp.zeros((), bool),
    )
