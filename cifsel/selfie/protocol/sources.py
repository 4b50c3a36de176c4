"""Which weights compete in task 2: those of task 1, and those that they came from."""

import dataclasses
from typing import Any

import jax
from ml_collections import ConfigDict

from cifsel.errors import UserError
from cifsel.models.classifier import Classifier, build, initial
from cifsel.models.weights import download, h5_file, keras_h5
from cifsel.prediction import predictor, trained_model
from cifsel.runtime import remote
from cifsel.runtime.paths import expanded
from cifsel.terminal import say

Tree = Any
IMAGENET = "ImageNet weights"  # begins the names of candidates that started from these


@dataclasses.dataclass(frozen=True)
class Source:
    """A backbone with weights.

    Attributes:
      name: for people.
      origin: the run or weight file.
      model_name: one of `classifier.MODELS`.
      alpha: MobileNet's width multiplier.
      model: a classifier with this backbone; its head is not used.
      variables: `params` and `batch_stats` of the backbone.
      image_size: pixels at which photos are shown.
    """

    name: str
    origin: str
    model_name: str
    alpha: float
    model: Classifier
    variables: Tree
    image_size: int


def sources(config: ConfigDict) -> list[Source]:
    """The weights to start from, the user's choice first, and ImageNet's to compare them with."""
    if config.init_from == "imagenet":
        return [_imagenet(config.model, 1.0, 224, config.weights_dir, config.image_size or 224)]
    run = predictor.run_of(remote.place(expanded(config.init_from)))
    trained = trained_model.restore(run)
    name, alpha = trained.config.model, trained.config.alpha
    say(f"task-1 checkpoint: {name} from {run}")
    size = config.image_size or trained.view.image_size
    backbone = {
        kind: {"backbone": trained.variables[kind]["backbone"]}
        for kind in ("params", "batch_stats")
    }
    found = [Source("task-1 checkpoint", str(run), name, alpha, trained.model, backbone, size)]
    if trained.config.weights == "none":
        say("not compared with ImageNet weights: the checkpoint was trained from scratch")
        return found
    try:
        resolution = trained.config.weights_resolution
        found.append(_imagenet(name, alpha, resolution, config.weights_dir, size))
    except UserError as error:
        say(f"not compared with ImageNet weights: {error}")
    return found


def _imagenet(
    name: str, alpha: float, resolution: int, weights_dir: str | None, size: int
) -> Source:
    path = download.find_weights(
        name, alpha=alpha, resolution=resolution, top=False, weights_dir=weights_dir
    )
    model = build(name, num_classes=2, alpha=alpha)
    shapes = jax.eval_shape(lambda: initial(model, size, jax.random.key(0)))
    loaded = keras_h5.convert(h5_file.read_tensors(path), shapes, model=name, head=False, path=path)
    return Source(IMAGENET, path.name, name, alpha, model, loaded, size)
