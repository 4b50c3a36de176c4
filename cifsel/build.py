"""Turns a config into the objects of a run: data set, model, view, objective, optimizer, plan.

Beside the commands, this is the only module that reads a config of task 1. `train` trains with
these objects, `preflight` compiles them for a TPU, and `prediction` restores them.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from cifsel import config as config_lib
from cifsel.data import augment, splits
from cifsel.data.datasets import DatasetSpec, load_dataset
from cifsel.data.folders import OwnSpec
from cifsel.evaluation.features import View
from cifsel.models.classifier import Classifier, build, initial, initial_head
from cifsel.models.cpu import compiler
from cifsel.models.weights.backbone import WeightsFile, WeightsSpec, find_file, load_backbone
from cifsel.runtime import command, compiling, executables, sharding
from cifsel.runtime.terminal import say
from cifsel.training import optim
from cifsel.training.objective import Objective
from cifsel.training.optim import Optimizer
from cifsel.training.plan import Plan
from cifsel.training.probe import Search

Tree = Any
# Below this number of training images, a run with method='auto' is a linear probe.
FEW_EXAMPLES = 1_000


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A classifier with the published weights of its backbone and a new head.

    Attributes:
      model: the classifier.
      variables: its `params` and `batch_stats`.
      weights: the file that the backbone came from. None for a model from scratch.
    """

    model: Classifier
    variables: Tree
    weights: WeightsFile | None


@dataclasses.dataclass(frozen=True)
class FineTuning:
    """How to train by gradient descent.

    Attributes:
      optimizer: with learning rates by layer.
      plan: how long to train, and when to save and stop.
    """

    optimizer: Optimizer
    plan: Plan


@dataclasses.dataclass(frozen=True)
class Job:
    """A run of task 1 as objects.

    Attributes:
      settings: the config, JSON-ready.
      dataset: the images.
      model: the classifier, with its variables before training.
      view: how images are shown to the model when it does not train.
      objective: the loss of gradient steps, and the inputs that they see.
      seed: of initial values, shuffling, augmentation and dropout.
      eval_batch_size: images per forward pass outside training.
      search: how the head is solved for. None if the head starts from random values.
      fine_tuning: None for a linear probe.
    """

    settings: dict[str, Any]
    dataset: splits.Dataset
    model: Pretrained
    view: View
    objective: Objective
    seed: int
    eval_batch_size: int
    search: Search | None
    fine_tuning: FineTuning | None


def job(config: ConfigDict, dataset: splits.Dataset, model: Pretrained) -> Job:
    """Makes the objects of a run, beside its data set and model, which take long to load."""
    is_probe = uses_probe(config, len(dataset.train))
    weights = None
    if config.class_weights == "balanced":
        balanced = splits.balanced_weights(dataset.train.labels, len(dataset.class_names))
        weights = tuple(balanced.tolist())
    return Job(
        settings=config_lib.to_json(config),
        dataset=dataset,
        model=dataclasses.replace(model, variables=sharding.everywhere(model.variables)),
        view=view(config),
        objective=dataclasses.replace(objective(config), class_weights=weights),
        seed=config.seed,
        eval_batch_size=config.eval_batch_size,
        search=search(config) if is_probe or config.init_head == "probe" else None,
        fine_tuning=None
        if is_probe
        else fine_tuning(
            config,
            model.model,
            model.variables["params"],
            len(dataset.train),
            jax.default_backend(),
        ),
    )


def uses_probe(config: ConfigDict, examples: int) -> bool:
    """Whether a run on so many training images is a linear probe, and does not fine-tune."""
    return config.method == "probe" or (config.method == "auto" and examples < FEW_EXAMPLES)


def dataset(config: ConfigDict) -> splits.Dataset:
    """Reads the images that a config asks for, with their split."""
    spec = DatasetSpec(
        name=config.dataset,
        data_dir=config.data_dir,
        try_gcs=config.try_gcs or jax.default_backend() == "tpu",
        val_per_class=config.val_per_class,
        train_fraction=config.train_fraction,
        train_examples=config.train_examples,
        test_examples=config.test_examples,
        seed=config.split_seed,
        own=OwnSpec(
            source=config.data or "",
            side=config.stored_size or round(config.image_size * 8 / 7),
            fit=config.fit,
            skip_unreadable=config.skip_unreadable,
            burst_seconds=config.burst_seconds,
            val_share=config.val_share,
            test_share=config.test_share,
            split=config.split,
            seed=config.split_seed,
        ),
    )
    return load_dataset(spec)


def classifier(
    config: ConfigDict, num_classes: int, platform: str | None = None
) -> tuple[Classifier, functools.partial[Tree]]:
    """Makes the classifier of a config, and the function of a key that makes initial variables.

    Args:
      config: as configs/common.py describes it.
      num_classes: K.
      platform: JAX's name of the platform where the model is to run, such as 'tpu'. None for that
        of this process.
    """
    dtype = config.dtype
    if dtype == "auto":
        dtype = "float32" if (platform or jax.default_backend()) == "cpu" else "bfloat16"
    compiling.name_model(config.model)
    model = build(
        config.model,
        num_classes=num_classes,
        alpha=config.alpha,
        drop_path=config.drop_path,
        dropout=config.dropout,
        pool=config.pool,
        hidden=config.hidden,
        dtype=jnp.dtype(dtype),
    )
    return model, functools.partial(initial, model, config.image_size)


def pretrained(config: ConfigDict, num_classes: int) -> Pretrained:
    """Makes the classifier of a config, with published weights and a new head."""
    model, init = classifier(config, num_classes)
    # Training splits the seed's own key. This key is another one, so that it does not depend on
    # what training does.
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    spec = WeightsSpec(
        model=config.model,
        source=config.weights,
        alpha=config.alpha,
        resolution=config.weights_resolution,
        folder=config.weights_dir,
    )
    named = f"{config.model} at {config.image_size} px"
    if spec.source == "none":
        say(f"{named}, from scratch")
        options = compiler.options_to_run_once()
        return Pretrained(model, jax.jit(init, compiler_options=options)(key), None)
    path = find_file(spec)
    shapes = executables.kept_shapes(init)
    variables, weights = load_backbone(path, spec.model, shapes)
    # Only the head is initialised. Initial values of a backbone take long to compile.
    head = jax.jit(functools.partial(initial_head, model, shapes))(key)
    variables["params"] |= {"head": head}
    say(f"{named}, weights from {path} (tensors {weights.tensors_sha256[:12]})")
    return Pretrained(model, variables, weights)


def view(config: ConfigDict) -> View:
    """Makes the view of images when the model does not train."""
    return View(config.image_size, config.resize, config.mirror)


def search(config: ConfigDict) -> Search:
    """Makes the search for the penalty of the linear probe."""
    return Search(tuple(config.probe_l2), config.probe_steps, config.probe_tolerance)


def train_size(config: ConfigDict) -> int:
    """Returns the side in pixels to which training images are resized."""
    return config.train_size or config.image_size


def objective(config: ConfigDict) -> Objective:
    """Makes the objective of fine-tuning."""
    policy = augment.Policy(**config.augment)
    frozen = config.trainable_layers == 0
    return Objective(
        image_size=train_size(config),
        resize=config.resize,
        policy=policy,
        on_features=frozen and policy == augment.Policy(),
        frozen_backbone=frozen,
        frozen_bn=config.frozen_bn,
        label_smoothing=config.label_smoothing,
        activity_l1=config.activity_l1,
        ema_decay=config.ema_decay,
        accum_steps=config.accum_steps,
    )


def fine_tuning(
    config: ConfigDict, model: Classifier, params: Tree, examples: int, platform: str
) -> FineTuning:
    """Makes the objects of gradient descent.

    Args:
      config: as configs/common.py describes it.
      model: the classifier.
      params: its parameters, or their shapes.
      examples: number of training images.
      platform: JAX's name of the platform that trains, such as 'tpu'.
    """
    plan = Plan(
        epochs=config.epochs,
        batch_size=config.batch_size,
        eval_batch_size=config.eval_batch_size,
        patience=config.patience,
        steps_per_call=config.steps_per_call,
        checkpoint_minutes=config.checkpoint_minutes,
        profile_steps=config.profile_steps,
        seed=config.seed,
    )
    epoch = plan.steps_per_epoch(examples)
    # Between calls, the loop can save or stop. On a CPU a single step takes long enough for that.
    per_call = config.steps_per_call or (1 if platform == "cpu" else epoch)
    # A trace begins and ends between calls.
    per_call = min(per_call, epoch, config.profile_steps or epoch)
    return FineTuning(
        _optimizer(config, model, params, epoch),
        dataclasses.replace(plan, steps_per_call=per_call),
    )


def schedule_steps(config: ConfigDict, steps_per_epoch: int) -> dict[str, int]:
    """Returns the numbers of steps that `optim.schedule` takes."""
    warmup = round(config.warmup_epochs * steps_per_epoch)
    return {"warmup_steps": warmup, "total_steps": config.epochs * steps_per_epoch}


def _optimizer(
    config: ConfigDict, model: Classifier, params: Tree, steps_per_epoch: int
) -> Optimizer:
    steps = schedule_steps(config, steps_per_epoch)
    of_layers = {
        name: config[name] for name in ("backbone_rate", "layer_decay", "trainable_layers")
    }
    of_steps = {name: config[name] for name in ("weight_decay", "clip_norm")}
    kinds = config.schedule, config.optimizer, config.learning_rate
    learning_rate = optim.schedule(config.schedule, config.learning_rate, **steps)
    by_layer = optim.layer_rates(model.backbone.layer_names, **of_layers)
    rates = optim.rates_by_parameter(params, by_layer)
    tx = optim.make(config.optimizer, learning_rate, rates=rates, **of_steps)
    return Optimizer(learning_rate, rates, tx, repr((kinds, steps, of_layers, of_steps)))


if __name__ == "__main__":
    command.refuse("cifsel.build")
