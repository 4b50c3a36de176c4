"""One optimisation step, and many of them in one scan: pure functions of arrays, no I/O."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from cifsel.data import augment
from cifsel.models.classifier import Classifier
from cifsel.models.cpu import compiler
from cifsel.training import accumulation, optim

Array = jax.Array
Tree = Any


@struct.dataclass
class Sums:
    """Running sums over the images of an epoch, all () float32."""

    loss: Array
    correct: Array
    images: Array
    grad_norm: Array
    steps: Array

    @classmethod
    def zero(cls) -> "Sums":
        """The state at the start of an epoch."""
        return cls(*(jnp.zeros(()) for _ in dataclasses.fields(cls)))


@struct.dataclass
class TrainState:
    """Everything that a step changes.

    Attributes:
      step: () int32, steps done.
      params: {'backbone', 'head'}, float32.
      batch_stats: {'backbone'}, float32.
      opt_state: optax's.
      average: {'params', 'batch_stats'} averaged over steps, or {} without averaging.
      sums: of the current epoch.
      failed: () bool, whether the next step's loss or gradient was found not to be finite; then
        the state stays what it was before that step.
    """

    step: Array
    params: Tree
    batch_stats: Tree
    opt_state: Tree
    average: Tree
    sums: Sums
    failed: Array

    def next_epoch(self) -> "TrainState":
        """The same with the sums at zero."""
        return dataclasses.replace(self, sums=Sums.zero())

    def variables(self) -> Tree:
        """What to evaluate and keep: the averaged weights where there are any."""
        return self.average or {"params": self.params, "batch_stats": self.batch_stats}


@dataclasses.dataclass(frozen=True)
class Objective:
    """What is minimised, and on which inputs.

    Attributes:
      image_size: pixels to which images are resized.
      resize: method of transforms.resize.
      policy: augmentation.
      on_features: inputs are feature maps (B, h, w, D) of a frozen backbone, not images.
      frozen_backbone: run the backbone in inference mode.
      frozen_bn: keep batch statistics in an otherwise trained backbone.
      label_smoothing: share of each target that is spread over all classes.
      activity_l1: penalty on the mean over images of the head's summed hidden activations.
      ema_decay: of the averaged weights; 0 for none.
      accum_steps: parts in which a batch passes through the model, to save memory.
    """

    image_size: int
    resize: str
    policy: augment.Policy
    on_features: bool = False
    frozen_backbone: bool = False
    frozen_bn: bool = True
    label_smoothing: float = 0.0
    activity_l1: float = 0.0
    ema_decay: float = 0.0
    accum_steps: int = 1


def init_state(variables: Tree, tx: optax.GradientTransformation, ema_decay: float) -> TrainState:
    """The state before the first step; copies `variables`, since steps donate their state."""
    variables = jax.tree.map(jnp.array, variables)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=tx.init(variables["params"]),
        average=jax.tree.map(jnp.array, variables) if ema_decay else {},
        sums=Sums.zero(),
        failed=jnp.zeros((), bool),
    )


def train_step(
    state: TrainState,
    batch: dict[str, Array],
    key: Array,
    *,
    model: Classifier,
    tx: optax.GradientTransformation,
    rates: Tree,
    objective: Objective,
) -> TrainState:
    """Takes one step.

    Args:
      state: before the step.
      batch: inputs (B, 32, 32, 3) uint8 images or (B, h, w, D) feature maps; labels (B,) int32;
        mask (B,) float32, 0 for images that fill up the batch and must not count.
      key: of the run; the step's own key is derived from it and the step number, so that a
        resumed run repeats an uninterrupted one.
      model: the classifier.
      tx: the optimiser.
      rates: learning-rate multiples, a tree like the parameters.
      objective: see there.

    Returns:
      The state after the step; the state before it, with `failed`, if the loss or the gradient is
      not finite, or if an earlier step has failed.
    """
    grads, found = gradients(state, batch, key, model=model, rates=rates, objective=objective)
    grad_norm = optax.tree.norm(grads)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    sums = Sums(
        loss=state.sums.loss + found.loss,
        correct=state.sums.correct + found.correct,
        images=state.sums.images + jnp.sum(batch["mask"]),
        grad_norm=state.sums.grad_norm + grad_norm,
        steps=state.sums.steps + 1,
    )
    after = TrainState(
        step=state.step + 1,
        params=params,
        batch_stats=found.batch_stats,
        opt_state=opt_state,
        average=_average(state, params, found.batch_stats, objective.ema_decay),
        sums=sums,
        failed=state.failed,
    )
    failed = state.failed | ~jnp.isfinite(found.loss) | ~jnp.isfinite(grad_norm)
    kept = jax.tree.map(lambda old, new: jnp.where(failed, old, new), state, after)
    return dataclasses.replace(kept, failed=failed)


def gradients(
    state: TrainState,
    batch: dict[str, Array],
    key: Array,
    *,
    model: Classifier,
    rates: Tree,
    objective: Objective,
) -> tuple[Tree, accumulation.Found]:
    """The gradient of a step's mean loss, and what was found on the way; see `train_step`."""
    inputs, targets, dropout_key = shown(state, batch, key, model, objective)
    gradient = functools.partial(
        _gradient, params=state.params, model=model, rates=rates, objective=objective
    )
    whole = batch | {"inputs": inputs, "targets": targets}
    return accumulation.in_parts(
        gradient, whole, state.batch_stats, dropout_key, objective.accum_steps
    )


def shown(
    state: TrainState,
    batch: dict[str, Array],
    key: Array,
    model: Classifier,
    objective: Objective,
) -> tuple[Array, Array, Array]:
    """What a step shows the model: inputs, targets (B, K), and the key of dropout."""
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
    return inputs, targets, dropout_key


def _gradient(
    part: dict[str, Array],
    images: Array,
    batch_stats: Tree,
    dropout_key: Array,
    *,
    params: Tree,
    model: Classifier,
    rates: Tree,
    objective: Objective,
) -> tuple[Tree, accumulation.Found]:
    """What `part` adds to the gradient of the mean loss over `images` images."""
    mask = part["mask"]

    def loss_fn(params: Tree) -> tuple[Array, accumulation.Found]:
        variables = {"params": optim.freeze(params, rates), "batch_stats": batch_stats}
        logits, changed = _forward(model, objective, variables, part["inputs"], dropout_key)
        total = jnp.sum(optax.softmax_cross_entropy(logits, part["targets"]) * mask)
        loss = total / images
        for hidden in jax.tree.leaves(changed.get("intermediates", {})):
            activity = jnp.sum(jnp.abs(hidden), axis=-1)
            loss += objective.activity_l1 * jnp.sum(activity * mask) / images
        correct = jnp.sum((logits.argmax(-1) == part["labels"]) * mask)
        return loss, accumulation.Found(total, correct, changed.get("batch_stats", batch_stats))

    return jax.grad(loss_fn, has_aux=True)(params)


def _forward(
    model: Classifier, objective: Objective, variables: Tree, inputs: Array, dropout_key: Array
) -> tuple[Array, Tree]:
    """Logits (B, K), and the collections that the pass changed."""
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
    if not decay:
        return {}
    # Short runs would otherwise average in their starting point for too long.
    step = state.step.astype(jnp.float32)
    decay_now = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    new = {"params": params, "batch_stats": batch_stats}
    return optax.incremental_update(new, state.average, 1.0 - decay_now)


ScanSteps = Callable[[TrainState, dict[str, Array], Array], TrainState]


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
      tx: the optimiser.
      rates: learning-rate multiples, a tree like the parameters.
      objective: see there.
      sharding: of the state that comes out; None leaves it to XLA.

    Returns:
      (state, batches, key) -> state, where batches has what `train_step` takes as a batch, for S
      steps: arrays (S, B, ...). The state given is donated: its buffers are reused and must not be
      read again.
    """
    step = functools.partial(train_step, model=model, tx=tx, rates=rates, objective=objective)

    def scan(state: TrainState, batches: dict[str, Array], key: Array) -> TrainState:
        if len(batches["mask"]) == 1:
            # XLA's CPU backend runs convolutions inside a loop, even of one turn, on one thread
            # and without its library: up to 12 times slower (experiments/README.md).
            return step(state, {name: array[0] for name, array in batches.items()}, key)
        return jax.lax.scan(lambda state, batch: (step(state, batch, key), None), state, batches)[0]

    options = compiler.compiler_options()
    return jax.jit(scan, donate_argnums=0, out_shardings=sharding, compiler_options=options)
