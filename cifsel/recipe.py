"""What a config makes of gradient steps: the objective, the optimiser, and how many at a time.

Apart from the run itself, so that `preflight` compiles the very steps that a run would take.
"""

from collections.abc import Callable
from typing import Any

import optax
from ml_collections import ConfigDict

from cifsel.data import augment
from cifsel.models.classifier import Classifier
from cifsel.training import optim, steps

Tree = Any


def train_size(config: ConfigDict) -> int:
    """Pixels to which training images are resized."""
    return config.train_size or config.image_size


def objective(config: ConfigDict) -> steps.Objective:
    """What is minimised, and on which inputs."""
    policy = augment.Policy(**config.augment)
    frozen = config.trainable_layers == 0
    return steps.Objective(
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


def steps_per_epoch(config: ConfigDict, examples: int) -> int:
    """Steps in which every one of the training images is seen once."""
    return -(-examples // config.batch_size)


def steps_per_call(config: ConfigDict, examples: int, platform: str) -> int:
    """Steps between which the host has nothing to do, on a platform of JAX, such as 'tpu'."""
    # A call is a pause in which to save or stop; on a CPU a single step takes long enough.
    epoch = steps_per_epoch(config, examples)
    usual = config.steps_per_call or (1 if platform == "cpu" else epoch)
    # A trace begins and ends between calls.
    return min(usual, epoch, config.profile_steps or epoch)


def optimizer(
    config: ConfigDict, model: Classifier, params: Tree, examples: int
) -> tuple[Callable[[int], Any], Tree, optax.GradientTransformation]:
    """The learning-rate schedule, its multiples by parameter, and the optimiser.

    Args:
      config: as configs/common.py describes it.
      model: the classifier.
      params: its parameters, or their shapes.
      examples: training images.
    """
    epoch = steps_per_epoch(config, examples)
    learning_rate = optim.schedule(
        config.schedule,
        config.learning_rate,
        warmup_steps=round(config.warmup_epochs * epoch),
        total_steps=config.epochs * epoch,
    )
    by_layer = optim.layer_rates(
        model.backbone.layer_names,
        backbone_rate=config.backbone_rate,
        layer_decay=config.layer_decay,
        trainable_layers=config.trainable_layers,
    )
    rates = optim.rates_by_parameter(params, by_layer)
    tx = optim.make(
        config.optimizer,
        learning_rate,
        rates=rates,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
    )
    return learning_rate, rates, tx
