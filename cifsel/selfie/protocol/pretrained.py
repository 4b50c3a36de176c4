"""The pretrained backbones of task 2: from a checkpoint of task 1, and from ImageNet."""

import dataclasses
from typing import Any

import jax
import numpy as np

from cifsel.errors import UserError
from cifsel.models.classifier import Classifier, build, initial
from cifsel.models.weights.backbone import WeightsSpec, find_file, load_backbone
from cifsel.prediction import restoring
from cifsel.prediction.trained_model import TrainedModel
from cifsel.runtime import compiling, remote
from cifsel.runtime.paths import expanded
from cifsel.runtime.terminal import say
from cifsel.workdir import model_file

Tree = Any
IMAGENET = "ImageNet weights"  # The names of candidates with these weights begin with it.
# Of ImageNet's weights where no checkpoint says otherwise, and of the photos shown to them.
_IMAGENET_SIZE = 224


@dataclasses.dataclass(frozen=True)
class PretrainedBackbone:
    """A backbone with weights.

    Attributes:
      name: for people.
      origin: the folder of a run, or the name of a weight file.
      model_name: one of `classifier.MODELS`.
      alpha: MobileNet's width multiplier.
      model: a classifier with this backbone. Its head is not used.
      variables: `params` and `batch_stats` of the backbone.
      image_size: side in pixels at which photos are shown to it.
    """

    name: str
    origin: str
    model_name: str
    alpha: float
    model: Classifier
    variables: Tree
    image_size: int


def pretrained_backbones(
    init_from: str,
    *,
    imagenet_model: str,
    weights_dir: str | None,
    image_size: int,
    compare: bool = True,
) -> list[PretrainedBackbone]:
    """Loads the backbone that the user chose, and ImageNet's weights to compare it with.

    Args:
      init_from: the folder of task 1 or of one of its runs, a model file, or 'imagenet'.
      imagenet_model: for 'imagenet', one of `classifier.MODELS`.
      weights_dir: a folder of Keras files. None for the environment's or the network's.
      image_size: side in pixels at which photos are shown. 0 for that of the checkpoint.
      compare: load ImageNet's weights too, if they are not the choice.

    Returns:
      The user's choice first. It stays alone without `compare`, if it is ImageNet's weights, if its
      backbone still has them, if it was trained from scratch, or if ImageNet's weights cannot be
      loaded.

    Raises:
      UserError: the user's choice cannot be loaded.
    """
    if init_from == "imagenet":
        size = image_size or _IMAGENET_SIZE
        return [_imagenet(imagenet_model, 1.0, _IMAGENET_SIZE, weights_dir, size)]
    run = restoring.run_of(remote.place(expanded(init_from)))
    trained = restoring.restore(run)
    if not isinstance(trained, TrainedModel):
        raise UserError(f"{run} is of task 2: give the workdir of a run of task 1")
    name, alpha = trained.config.model, trained.config.alpha
    say(f"task-1 checkpoint: {name} from {run}")
    size = image_size or trained.view.image_size
    variables = {
        kind: {"backbone": trained.variables[kind]["backbone"]}
        for kind in ("params", "batch_stats")
    }
    backbones = [
        PretrainedBackbone(
            "task-1 checkpoint", str(run), name, alpha, trained.model, variables, size
        )
    ]
    if not compare:
        return backbones
    if trained.config.weights == "none":
        say("not compared with ImageNet weights: the checkpoint was trained from scratch")
        return backbones
    try:
        resolution = trained.config.weights_resolution
        imagenet = _imagenet(name, alpha, resolution, weights_dir, size)
    except UserError as error:
        say(f"not compared with ImageNet weights: {error}")
        return backbones
    if _same_numbers(variables, _as_stored(imagenet.variables, trained)):
        say(
            "not compared with ImageNet weights: the checkpoint's backbone has these very weights,"
            " as after a linear probe, which trains the head alone"
        )
        return backbones
    return [*backbones, imagenet]


def _as_stored(variables: Tree, trained: TrainedModel) -> Tree:
    """The variables, rounded as those of a model that comes from a model file."""
    if trained.weights == "float32":
        return variables
    return model_file.rounded(variables, trained.weights)


def _same_numbers(first: Tree, second: Tree) -> bool:
    """Whether two backbones have the same parameters and batch statistics."""
    kinds = ("params", "batch_stats")
    trees = [{kind: tree[kind]["backbone"] for kind in kinds} for tree in (first, second)]
    flat = [dict(jax.tree_util.tree_leaves_with_path(tree)) for tree in trees]
    return flat[0].keys() == flat[1].keys() and all(
        np.array_equal(flat[0][path], flat[1][path]) for path in flat[0]
    )


def _imagenet(
    name: str, alpha: float, resolution: int, weights_dir: str | None, size: int
) -> PretrainedBackbone:
    path = find_file(WeightsSpec(name, "imagenet", alpha, resolution, weights_dir))
    compiling.name_model(name)
    model = build(name, num_classes=2, alpha=alpha)
    shapes = jax.eval_shape(lambda: initial(model, size, jax.random.key(0)))
    variables, _ = load_backbone(path, name, shapes)
    return PretrainedBackbone(IMAGENET, path.name, name, alpha, model, variables, size)
