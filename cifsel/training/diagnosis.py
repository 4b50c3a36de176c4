"""Finds the layer at which a step's loss or gradient stopped being finite."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array

from cifsel.models.classifier import Classifier
from cifsel.training import steps
from cifsel.training.objective import Objective
from cifsel.training.state import TrainState

Tree = Any


def first_not_finite(
    state: TrainState,
    batch: steps.Batch,
    key: Array,
    *,
    model: Classifier,
    rates: Tree,
    objective: Objective,
) -> str:
    """Repeats a failed step and names the first value in it that is not finite.

    Args:
      state: the state before the step.
      batch: the batch of the step.
      key: random key of the run.
      model: the classifier.
      rates: learning-rate multiples, a tree like the parameters.
      objective: the loss, and the inputs that it is computed on.

    Returns:
      A name such as 'the output of backbone/block3a', in the order of the forward pass. If all
      outputs are finite, a name such as 'the gradient of head', in the order of the backward pass.
    """
    inputs, targets, dropout_key = steps.step_inputs(state, batch, key, model, objective)
    if not _finite((inputs, targets)):
        return "what the model is shown"
    for name, weights in _by_layer(model, state.params):
        if not _finite(weights):
            return f"a weight of {name}"
    outputs = _layer_outputs(state, inputs, dropout_key, model, objective)
    for name, output in _by_layer(model, outputs):
        if not _finite(output):
            return f"the output of {name}"
    gradients = functools.partial(steps.gradients, model=model, rates=rates, objective=objective)
    grads, _ = jax.jit(gradients)(state, batch, key)
    for name, gradient in reversed(_by_layer(model, grads)):
        if not _finite(gradient):
            return f"the gradient of {name}"
    return "the loss"


def _by_layer(model: Classifier, tree: Tree) -> list[tuple[str, Tree]]:
    """Splits a tree like the parameters by layer, in the order of the forward pass."""
    backbone = tree.get("backbone", {})
    layers = [(f"backbone/{name}", backbone.get(name)) for name in model.backbone.layer_names]
    return [*layers, ("head", tree.get("head"))]


def _finite(tree: Tree) -> bool:
    return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))


def _layer_outputs(
    state: TrainState,
    inputs: Array,
    dropout_key: Array,
    model: Classifier,
    objective: Objective,
) -> Tree:
    """Computes the outputs of the backbone's layers and of the head, in a tree like the params."""

    def is_layer(module: nn.Module, method: str) -> bool:
        return method == "__call__" and (module.path == ("head",) or len(module.path) == 2)

    if objective.on_features:
        options: dict[str, Any] = {"method": "classify"}
    else:
        # Training runs a frozen backbone without drop path. Here it may drop paths, which changes
        # no finite output into one that is not.
        options = {"frozen_bn": objective.frozen_bn or objective.frozen_backbone}

    @jax.jit
    def apply(variables: Tree) -> Tree:
        _, changed = model.apply(
            variables,
            inputs,
            train=True,
            rngs={"dropout": dropout_key},
            capture_intermediates=is_layer,
            mutable=["batch_stats", "intermediates"],
            **options,
        )
        return changed["intermediates"]

    return apply({"params": state.params, "batch_stats": state.batch_stats})
