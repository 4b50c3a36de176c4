"""Where a step's loss or gradient stopped being finite."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cifsel.models.classifier import Classifier
from cifsel.training import steps

Array = jax.Array
Tree = Any


def first_bad(
    state: steps.TrainState,
    batch: dict[str, Array],
    key: Array,
    *,
    model: Classifier,
    rates: Tree,
    objective: steps.Objective,
) -> str:
    """Takes a failed step again, and says what in it is the first not to be finite.

    Args:
      state: that before the step.
      batch: of the step; see `steps.train_step`, as for the rest.
      key: of the run.
      model: the classifier.
      rates: learning-rate multiples.
      objective: see there.

    Returns:
      Such as 'the output of backbone/block3a', in the order of the forward pass, or, if all
      outputs are finite, 'the gradient of head', in the order of the backward pass.
    """
    inputs, targets, dropout_key = steps.shown(state, batch, key, model, objective)
    if not _finite((inputs, targets)):
        return "what the model is shown"
    for name, weights in _by_layer(model, state.params):
        if not _finite(weights):
            return f"a weight of {name}"
    outputs = _outputs(state, inputs, dropout_key, model, objective)
    for name, output in _by_layer(model, outputs):
        if not _finite(output):
            return f"the output of {name}"
    again = functools.partial(steps.gradients, model=model, rates=rates, objective=objective)
    grads, _ = jax.jit(again)(state, batch, key)
    for name, gradient in reversed(_by_layer(model, grads)):
        if not _finite(gradient):
            return f"the gradient of {name}"
    return "the loss"


def _by_layer(model: Classifier, tree: Tree) -> list[tuple[str, Tree]]:
    """Parts of a tree like the parameters', in the order of the forward pass."""
    backbone = tree.get("backbone", {})
    layers = [(f"backbone/{name}", backbone.get(name)) for name in model.backbone.layer_names]
    return [*layers, ("head", tree.get("head"))]


def _finite(tree: Tree) -> bool:
    return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))


def _outputs(
    state: steps.TrainState,
    inputs: Array,
    dropout_key: Array,
    model: Classifier,
    objective: steps.Objective,
) -> Tree:
    """Outputs of the backbone's layers and of the head, in a tree like the parameters'."""

    def wanted(module: nn.Module, method: str) -> bool:
        return method == "__call__" and (module.path == ("head",) or len(module.path) == 2)

    if objective.on_features:
        options: dict[str, Any] = {"method": "classify"}
    else:
        # A frozen backbone runs without the randomness of training, which does no harm here.
        options = {"frozen_bn": objective.frozen_bn or objective.frozen_backbone}

    @jax.jit
    def apply(variables: Tree) -> Tree:
        _, changed = model.apply(
            variables,
            inputs,
            train=True,
            rngs={"dropout": dropout_key},
            capture_intermediates=wanted,
            mutable=["batch_stats", "intermediates"],
            **options,
        )
        return changed["intermediates"]

    return apply({"params": state.params, "batch_stats": state.batch_stats})
