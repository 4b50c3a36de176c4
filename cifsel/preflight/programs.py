"""The programs of a run, with the shapes that it would call them with."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from cifsel import build, recipe
from cifsel.errors import UserError
from cifsel.evaluation import features
from cifsel.runtime import sharding
from cifsel.training import steps

Tree = Any
_CLASSES, _PIXELS = 50, 32  # Of both data sets.
_TRAIN_PER_CLASS, _TEST_IMAGES = 500, 5_000  # Of CIFAR-100's animals and people.


@dataclasses.dataclass(frozen=True)
class Program:
    """One compiled function of a run.

    Attributes:
      name: what it does.
      function: jitted.
      arguments: shapes and shardings to call it with.
      images: that a step sees.
      steps: in one call, of a loop.
      runs: steps in the whole run.
      parts: into which a step's batch is divided, to pass one after the other.
    """

    name: str
    function: Any
    arguments: tuple[Tree, ...]
    images: int
    steps: int
    runs: int
    parts: int = 1


def of_run(config: ConfigDict, mesh: Mesh) -> list[Program]:
    """What a config's run calls on a mesh of TPUs, in the order of the run."""
    model, init = build.classifier(config, _CLASSES, platform="tpu")
    whole = NamedSharding(mesh, PartitionSpec())
    variables = _placed(jax.eval_shape(init, jax.random.key(0)), whole)
    view = features.View(config.image_size, config.resize, config.mirror)
    train, val, test = split_sizes(config)
    batch = sharding.divisible(config.eval_batch_size, devices=mesh.size)
    # Not through `batches`: these calls take a batch at a time.
    images = _images((batch,), NamedSharding(mesh, PartitionSpec(sharding.AXIS)))

    def calls(*splits: int) -> int:
        return sum(-(-split // batch) for split in splits)

    def forward(name: str, function: features.Forward, runs: int) -> Program:
        return Program(name, function, (variables, images), batch, 1, runs)

    pooled = features.pooled(model, view)
    if config.method == "probe":
        return [forward("features", pooled, calls(train, val, test))]
    found = []
    if config.init_head == "probe":
        found.append(forward("features", pooled, calls(train, val)))
    found.append(_training(config, mesh, model, variables, train))
    scored = config.epochs * calls(val) + calls(val, test)
    return [*found, forward("logits", features.logits(model, view), scored)]


def split_sizes(config: ConfigDict) -> tuple[int, int, int]:
    """Training, validation and test images of a config, but for rounding within classes.

    Raises:
      UserError: the data set is not one of those whose numbers are known here.
    """
    if config.dataset == "drawn":
        train, val, test = 5_000, 2_500, 2_500
    elif config.dataset == "cifar100":
        val = _CLASSES * config.val_per_class
        train, test = _CLASSES * _TRAIN_PER_CLASS - val, _TEST_IMAGES
    else:
        raise UserError(
            f"config.dataset is {config.dataset!r}, whose size preflight does not know: use"
            " 'cifar100' with train_examples and test_examples to match"
        )
    train = config.train_examples or round(train * config.train_fraction)
    return train, val, config.test_examples or test


def _training(
    config: ConfigDict, mesh: Mesh, model: Any, variables: Tree, examples: int
) -> Program:
    """The scan over gradient steps."""
    whole = NamedSharding(mesh, PartitionSpec())
    apart = NamedSharding(mesh, PartitionSpec(None, sharding.AXIS))
    objective = recipe.objective(config)
    _, rates, tx = recipe.optimizer(config, model, variables["params"], examples)
    scan = steps.make_scan(model, tx, rates, objective, whole)
    state = jax.eval_shape(lambda v: steps.init_state(v, tx, config.ema_decay), variables)
    per_call = recipe.steps_per_call(config, examples, "tpu")
    several = (per_call, config.batch_size)
    inputs = _images(several, apart)
    if objective.on_features:
        view = features.View(config.image_size, config.resize, mirror=False)
        one = jax.eval_shape(features.maps(model, view), variables, _images((1,), None))
        inputs = jax.ShapeDtypeStruct((*several, *one.shape[1:]), one.dtype, sharding=apart)
    batches = {
        "inputs": inputs,
        "labels": jax.ShapeDtypeStruct(several, jnp.int32, sharding=apart),
        "mask": jax.ShapeDtypeStruct(several, jnp.float32, sharding=apart),
    }
    key = _placed(jax.eval_shape(lambda: jax.random.key(0)), whole)
    arguments = (_placed(state, whole), batches, key)
    runs = config.epochs * recipe.steps_per_epoch(config, examples)
    return Program(
        "training", scan, arguments, config.batch_size, per_call, runs, config.accum_steps
    )


def _images(shape: tuple[int, ...], placed: NamedSharding | None) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((*shape, _PIXELS, _PIXELS, 3), jnp.uint8, sharding=placed)


def _placed(tree: Tree, where: NamedSharding) -> Tree:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree)
