"""Learning-rate schedules, rates by layer, and the optimizer."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import traverse_util

Tree = Any


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """An optimizer with the rates it was made of.

    Attributes:
      learning_rate: step -> learning rate of the head.
      rates: multiples of the learning rate, a tree like the parameters. 0 freezes a parameter.
      tx: optax's transformation.
      about: says all that it was made from. '' if that is not known.
    """

    learning_rate: Callable[[int], Any]
    rates: Tree
    tx: optax.GradientTransformation
    about: str = ""


def schedule(kind: str, peak: float, *, warmup_steps: int, total_steps: int) -> optax.Schedule:
    """Makes a schedule: linear warm-up to `peak`, then 'cosine' to zero or 'constant'."""
    warmup_steps = min(warmup_steps, total_steps - 1)
    rest = max(total_steps - warmup_steps, 1)
    after_warmup = (
        optax.cosine_decay_schedule(peak, rest)
        if kind == "cosine"
        else optax.constant_schedule(peak)
    )
    if not warmup_steps:
        return after_warmup
    # The first step has the rate peak / warmup_steps, not zero, so that it already trains.
    warmup = optax.linear_schedule(peak / warmup_steps, peak, warmup_steps)
    return optax.join_schedules([warmup, after_warmup], [warmup_steps])


def layer_rates(
    layer_names: tuple[str, ...],
    *,
    backbone_rate: float,
    layer_decay: float,
    trainable_layers: int,
) -> dict[str, float]:
    """Computes the learning rate of each backbone layer as a multiple of the head's.

    Args:
      layer_names: names of the layers, from the input to the output.
      backbone_rate: multiple of the last layer.
      layer_decay: factor from each layer to the one before it.
      trainable_layers: number of last layers that train. 0 for none, -1 for all.

    Returns:
      A rate for each layer, 0.0 for frozen ones.
    """
    count = len(layer_names)
    trained = count if trainable_layers < 0 else min(trainable_layers, count)
    return {
        name: backbone_rate * layer_decay ** (count - 1 - i) if i >= count - trained else 0.0
        for i, name in enumerate(layer_names)
    }


def rates_by_parameter(params: Tree, rates: Mapping[str, float]) -> Tree:
    """Spreads rates by layer over the parameters; the head has rate 1.

    Args:
      params: {'backbone': {layer: ...}, 'head': ...}, arrays or shapes.
      rates: rate of each backbone layer.

    Returns:
      A tree like `params` of learning-rate multiples.
    """
    flat = traverse_util.flatten_dict(params)
    return traverse_util.unflatten_dict(
        {path: rates[path[1]] if path[0] == "backbone" else 1.0 for path in flat}
    )


def freeze(params: Tree, rates: Tree) -> Tree:
    """Stops gradients at parameters of rate 0, so that their backward pass is not computed."""
    return jax.tree.map(lambda p, r: p if r else jax.lax.stop_gradient(p), params, rates)


def make(
    name: str, learning_rate: optax.Schedule, *, rates: Tree, weight_decay: float, clip_norm: float
) -> optax.GradientTransformation:
    """Makes the optimizer.

    Args:
      name: 'adamw', or 'sgd' with Nesterov momentum .9.
      learning_rate: step -> learning rate of the head.
      rates: multiples of it, a tree like the parameters. A parameter of rate 0 is frozen: no
        update, no weight decay, no optimizer state.
      weight_decay: decoupled from the gradient and multiplied by the learning rate, as in AdamW.
        It applies to kernels, not to biases nor to batch-norm scales.
      clip_norm: largest global norm of the trained parameters' gradient. 0 for no limit.
    """
    trained = optax.chain(
        optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity(),
        optax.scale_by_adam() if name == "adamw" else optax.trace(decay=0.9, nesterov=True),
        optax.add_decayed_weights(weight_decay, mask=_is_kernel),
        optax.scale_by_learning_rate(learning_rate),
    )
    labels = jax.tree.map(lambda rate: "trained" if rate else "frozen", rates)
    partitioned = optax.multi_transform({"trained": trained, "frozen": optax.set_to_zero()}, labels)
    return optax.chain(partitioned, _multiply(rates))


def _is_kernel(params: Tree) -> Tree:
    return jax.tree.map(lambda p: jnp.ndim(p) > 1, params)


def _multiply(rates: Tree) -> optax.GradientTransformation:
    def update(updates: Tree, state: Tree, params: Tree = None) -> tuple[Tree, Tree]:
        del params
        return jax.tree.map(jnp.multiply, updates, rates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
