"""The programs of a run, with the shapes of the arguments that it calls them with."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from cifsel import build
from cifsel.evaluation import features
from cifsel.models.classifier import Classifier
from cifsel.runtime import sharding
from cifsel.training import steps
from cifsel.training.objective import Objective
from cifsel.training.state import init_state

Tree = Any
# Classes, images of a class that training and validation share, and test images. Validation images
# of the drawn classes are drawn for themselves.
_KNOWN = {
    "cifar100": (50, 500, 5_000),
    "cifar100:all": (100, 500, 10_000),
    "drawn": (50, 100, 2_000),
}


@dataclasses.dataclass(frozen=True)
class Program:
    """One compiled function of a run.

    Attributes:
      name: 'features', 'training' or 'logits'.
      function: the jitted function.
      arguments: shapes and shardings of its arguments.
      images: number of images in a step.
      steps: number of steps in one call.
      runs: number of steps in the whole run.
      parts: number of parts in which a step's batch passes through the model.
    """

    name: str
    function: Any
    arguments: tuple[Tree, ...]
    images: int
    steps: int
    runs: int
    parts: int = 1


def of_run(config: ConfigDict, mesh: Mesh) -> list[Program]:
    """Lists the programs that a config's run calls on a mesh of TPUs, in their order."""
    data = data_size(config)
    train, val, test = data.train, data.val, data.test
    model, init = build.classifier(config, data.classes, platform="tpu")
    whole = NamedSharding(mesh, PartitionSpec())
    variables = _placed(jax.eval_shape(init, jax.random.key(0)), whole)
    view = build.view(config)
    batch = sharding.divisible(config.eval_batch_size, devices=mesh.size)
    images = _images((batch,), data.side, NamedSharding(mesh, PartitionSpec(sharding.AXIS)))

    def calls(*splits: int) -> int:
        return sum(-(-split // batch) for split in splits)

    def forward(name: str, function: features.Forward, runs: int) -> Program:
        return Program(name, function, (variables, images), batch, 1, runs)

    pooled = features.pooled(model, view)
    if build.uses_probe(config, train):
        return [forward("features", pooled, calls(train, val, test))]
    programs = []
    if config.init_head == "probe":
        programs.append(forward("features", pooled, calls(train, val)))
    tuning = build.fine_tuning(config, model, variables["params"], train, "tpu")
    training = _Training(model, variables, view, build.objective(config), tuning, data)
    programs.append(training.program(mesh))
    scored = tuning.plan.epochs * calls(val) + calls(val, test)
    return [*programs, forward("logits", features.logits(model, view), scored)]


@dataclasses.dataclass(frozen=True)
class DataSize:
    """The size of a data set.

    Attributes:
      classes: number of classes.
      side: of the images, in pixels, before they are resized on the device.
      train, val, test: number of images.
    """

    classes: int
    side: int
    train: int
    val: int
    test: int


def data_size(config: ConfigDict) -> DataSize:
    """Finds the size of a config's data set. A user's own images are read and divided for it.

    For the other data sets, the numbers are exact up to rounding within classes.

    Raises:
      UserError: the images cannot be read.
    """
    if config.dataset not in _KNOWN:
        dataset = build.dataset(config)
        side, classes = dataset.train.images.shape[1], len(dataset.class_names)
        return DataSize(classes, side, len(dataset.train), len(dataset.val), len(dataset.test))
    classes, per_class, test = _KNOWN[config.dataset]
    val = classes * config.val_per_class
    train = classes * per_class - (0 if config.dataset == "drawn" else val)
    train = config.train_examples or round(train * config.train_fraction)
    return DataSize(classes, 32, train, val, config.test_examples or test)


@dataclasses.dataclass(frozen=True)
class _Training:
    """The scan over gradient steps, before it has shapes.

    Attributes:
      model: the classifier.
      variables: shapes of its variables.
      view: how images are shown to it.
      objective: the loss, and the inputs that it is computed on.
      tuning: optimizer and plan.
      data: its number of training images, and their size.
    """

    model: Classifier
    variables: Tree
    view: features.View
    objective: Objective
    tuning: build.FineTuning
    data: DataSize

    def program(self, mesh: Mesh) -> Program:
        """Describes the scan with the shapes that a mesh calls it with."""
        whole = NamedSharding(mesh, PartitionSpec())
        divided = NamedSharding(mesh, PartitionSpec(None, sharding.AXIS))
        objective, plan, optimizer = self.objective, self.tuning.plan, self.tuning.optimizer
        scan = steps.make_scan(self.model, optimizer.tx, optimizer.rates, objective, whole)
        state = jax.eval_shape(
            lambda v: init_state(v, optimizer.tx, objective.ema_decay), self.variables
        )
        stacked = (plan.steps_per_call, plan.batch_size)
        batches = {
            "inputs": self._inputs(stacked, divided),
            "labels": jax.ShapeDtypeStruct(stacked, jnp.int32, sharding=divided),
            "mask": jax.ShapeDtypeStruct(stacked, jnp.float32, sharding=divided),
        }
        key = _placed(jax.eval_shape(lambda: jax.random.key(0)), whole)
        return Program(
            "training",
            scan,
            (_placed(state, whole), batches, key),
            images=plan.batch_size,
            steps=plan.steps_per_call,
            runs=plan.epochs * plan.steps_per_epoch(self.data.train),
            parts=objective.accum_steps,
        )

    def _inputs(self, stacked: tuple[int, int], divided: NamedSharding) -> jax.ShapeDtypeStruct:
        """Returns the shape of the images, or feature maps, of several steps."""
        if not self.objective.on_features:
            return _images(stacked, self.data.side, divided)
        maps = features.maps(self.model, dataclasses.replace(self.view, mirror=False))
        output = jax.eval_shape(maps, self.variables, _images((1,), self.data.side, None))
        shape = (*stacked, *output.shape[1:])
        return jax.ShapeDtypeStruct(shape, output.dtype, sharding=divided)


def _images(
    shape: tuple[int, ...], side: int, placed: NamedSharding | None
) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((*shape, side, side, 3), jnp.uint8, sharding=placed)


def _placed(tree: Tree, where: NamedSharding) -> Tree:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree)
