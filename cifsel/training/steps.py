"""A gradient step, and a scan over many of them: pure functions of arrays, without I/O."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Shaped

from cifsel.data import augment
from cifsel.models.classifier import Classifier
from cifsel.models.cpu import compiler
from cifsel.training import optim
from cifsel.training.accumulation import PassResult, accumulate
from cifsel.training.objective import Objective
from cifsel.training.state import EpochSums, TrainState

Tree = Any
# 'inputs': images (B, 32, 32, 3) uint8, or feature maps (B, h, w, D) float32.
# 'labels': (B,) int32. 'mask': (B,) float32, 0 for images that only fill up the batch.
Batch = dict[str, Array]
ScanSteps = Callable[[TrainState, Batch, Array], TrainState]


class StepInputs(NamedTuple):
    """The arrays that the model sees in a step.

    Attributes:
      inputs: augmented images (B, S, S, 3) float32, or feature maps (B, h, w, D).
      targets: a distribution over classes for each input.
      dropout_key: random key of dropout.
    """

    inputs: Shaped[Array, "b ..."]
    targets: Float[Array, "b k"]
    dropout_key: Array


def train_step(
    state: TrainState,
    batch: Batch,
    key: Array,
    *,
    model: Classifier,
    tx: optax.GradientTransformation,
    rates: Tree,
    objective: Objective,
) -> TrainState:
    """Takes one gradient step.

    Args:
      state: the state before the step.
      batch: inputs, labels and mask, see `Batch`. Rows with mask 0 do not count.
      key: random key of the run. The step's own key is derived from it and from the step number,
        so that a resumed run repeats an uninterrupted one.
      model: the classifier.
      tx: the optimizer.
      rates: learning-rate multiples, a tree like the parameters.
      objective: the loss, and the inputs that it is computed on.

    Returns:
      The state after the step. If the loss or the gradient is not finite, or an earlier step has
      failed, it is the state before the step with `failed` set.
    """
    grads, result = gradients(state, batch, key, model=model, rates=rates, objective=objective)
    grad_norm = optax.tree.norm(grads)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    sums = EpochSums(
        loss=state.sums.loss + result.loss,
        correct=state.sums.correct + result.correct,
        images=state.sums.images + jnp.sum(batch["mask"]),
        grad_norm=state.sums.grad_norm + grad_norm,
        steps=state.sums.steps + 1,
    )
    after = TrainState(
        step=state.step + 1,
        params=params,
        batch_stats=result.batch_stats,
        opt_state=opt_state,
        average=_average(state, params, result.batch_stats, objective.ema_decay),
        sums=sums,
        failed=state.failed,
    )
    failed = state.failed | ~jnp.isfinite(result.loss) | ~jnp.isfinite(grad_norm)
    kept = jax.tree.map(lambda old, new: jnp.where(failed, old, new), state, after)
    return dataclasses.replace(kept, failed=failed)


def gradients(
    state: TrainState,
    batch: Batch,
    key: Array,
    *,
    model: Classifier,
    rates: Tree,
    objective: Objective,
) -> tuple[Tree, PassResult]:
    """Computes the gradient of a step's mean loss, and the results of the forward pass.

    The arguments are those of `train_step`.
    """
    inputs, targets, dropout_key = step_inputs(state, batch, key, model, objective)
    gradient = functools.partial(
        _gradient_of_part, params=state.params, model=model, rates=rates, objective=objective
    )
    whole = batch | {"inputs": inputs, "targets": targets}
    return accumulate(gradient, whole, state.batch_stats, dropout_key, objective.accum_steps)


def step_inputs(
    state: TrainState, batch: Batch, key: Array, model: Classifier, objective: Objective
) -> StepInputs:
    """Augments the inputs of a step and makes its targets.

    The arguments are those of `train_step`.
    """
    key = jax.random.fold_in(key, state.step)
    augment_key, mix_key, dropout_key = jax.random.split(key, 3)
    inputs = batch["inputs"]
    targets = jax.nn.one_hot(batch["labels"], model.head.num_classes)
    targets = optax.smooth_labels(targets, objective.label_smoothing)
    if not objective.on_features:
        inputs = augment.augment_images(
            augment_key,
            inputs.astype(jnp.float32),
            objective.policy,
            objective.image_size,
            objective.resize,
        )
        inputs, targets = augment.mix(mix_key, inputs, targets, objective.policy)
    return StepInputs(inputs, targets, dropout_key)


def _gradient_of_part(
    part: Batch,
    images: Float[Array, ""],
    batch_stats: Tree,
    dropout_key: Array,
    *,
    params: Tree,
    model: Classifier,
    rates: Tree,
    objective: Objective,
) -> tuple[Tree, PassResult]:
    """Computes what `part` adds to the gradient of the mean loss over `images` images."""
    mask = part["mask"]

    def loss_fn(params: Tree) -> tuple[Array, PassResult]:
        variables = {"params": optim.freeze(params, rates), "batch_stats": batch_stats}
        logits, changed = _forward(model, objective, variables, part["inputs"], dropout_key)
        losses = optax.softmax_cross_entropy(logits, part["targets"])
        if objective.class_weights is not None:
            losses *= jnp.asarray(objective.class_weights)[part["labels"]]
        total = jnp.sum(losses * mask)
        loss = total / images
        for hidden in jax.tree.leaves(changed.get("intermediates", {})):
            activity = jnp.sum(jnp.abs(hidden), axis=-1)
            loss += objective.activity_l1 * jnp.sum(activity * mask) / images
        right = logits.argmax(-1) == part["labels"]
        correct = jnp.sum(jnp.where(right, mask, 0.0))
        return loss, PassResult(total, correct, changed.get("batch_stats", batch_stats))

    return jax.grad(loss_fn, has_aux=True)(params)


def _forward(
    model: Classifier, objective: Objective, variables: Tree, inputs: Array, dropout_key: Array
) -> tuple[Array, Tree]:
    """Computes logits (B, K), and the collections that the pass changes."""
    rngs = {"dropout": dropout_key}
    mutable = ["batch_stats", "intermediates"]
    if objective.on_features or objective.frozen_backbone:
        if not objective.on_features:
            inputs = jnp.asarray(model.apply(variables, inputs, method="feature_map"))
        inputs = jax.lax.stop_gradient(inputs)
        logits, changed = model.apply(
            variables, inputs, train=True, rngs=rngs, mutable=["intermediates"], method="classify"
        )
        return logits, changed
    logits, changed = model.apply(
        variables, inputs, train=True, frozen_bn=objective.frozen_bn, rngs=rngs, mutable=mutable
    )
    return logits, changed


def _average(state: TrainState, params: Tree, batch_stats: Tree, decay: float) -> Tree:
    """Moves the averaged weights towards the new ones."""
    if not decay:
        return {}
    # With a fixed decay, the average of a short run would stay near its starting point.
    step = state.step.astype(jnp.float32)
    decay_now = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    new = {"params": params, "batch_stats": batch_stats}
    return optax.incremental_update(new, state.average, 1.0 - decay_now)


def make_scan(
    model: Classifier,
    tx: optax.GradientTransformation,
    rates: Tree,
    objective: Objective,
    sharding: jax.sharding.Sharding | None = None,
) -> ScanSteps:
    """Compiles many steps into one call.

    Args:
      model: the classifier.
      tx: the optimizer.
      rates: learning-rate multiples, a tree like the parameters.
      objective: the loss, and the inputs that it is computed on.
      sharding: sharding of the state that comes out. None leaves it to XLA.

    Returns:
      (state, batches, key) -> state. `batches` has the arrays of a `Batch` for S steps, each
      (S, B, ...). The state that is given is donated: its buffers are reused and must not be read
      again.
    """
    step = functools.partial(train_step, model=model, tx=tx, rates=rates, objective=objective)

    def scan(state: TrainState, batches: Batch, key: Array) -> TrainState:
        if len(batches["mask"]) == 1:
            # Inside a loop, even of one turn, XLA's CPU backend runs convolutions on one thread
            # and without its library. They are up to 12 times slower (experiments/LOG.md).
            return step(state, {name: array[0] for name, array in batches.items()}, key)
        return jax.lax.scan(lambda state, batch: (step(state, batch, key), None), state, batches)[0]

    options = compiler.compiler_options()
    return jax.jit(scan, donate_argnums=0, out_shardings=sharding, compiler_options=options)
