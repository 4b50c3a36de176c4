"""A trained model from the checkpoint of its run, which is enough by itself."""

import dataclasses
from typing import Any

import jax
from etils import epath
from ml_collections import ConfigDict

from cifsel import build
from cifsel.errors import UserError
from cifsel.evaluation import features
from cifsel.models.classifier import Classifier
from cifsel.workdir.checkpoints import FOLDER, Checkpoints

Tree = Any
# Of checkpoints that do not say: those of CIFAR-100 and of drawn images.
_SIDE_BEFORE = 32


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A model as its run left it.

    Attributes:
      model: the classifier.
      variables: its best `params` and `batch_stats`.
      view: how images are shown to it.
      image_side: in pixels, of the images it was trained on, before `view` resized them.
      class_names: K names, in the order of the logits.
      config: of the run.
    """

    model: Classifier
    variables: Tree
    view: features.View
    image_side: int
    class_names: tuple[str, ...]
    config: ConfigDict


def restore(run: epath.Path) -> TrainedModel:
    """Restores the best variables of a run.

    Args:
      run: its workdir.

    Raises:
      UserError: there is no checkpoint of task 1, or it is damaged.
    """
    if not (run / FOLDER).exists():
        raise UserError(f"{run} has no checkpoint ({run / FOLDER} is not there)")
    with Checkpoints(run, read_only=True) as checkpoints:
        about = checkpoints.meta()
        if about["config"].get("task") == "selfie":
            raise UserError(f"{run} is of task 2: give the workdir of a run of task 1")
        config = ConfigDict(about["config"])
        model, init = build.classifier(config, len(about["class_names"]))
        variables = checkpoints.model(jax.eval_shape(init, jax.random.key(0)))
    view = build.view(config)
    side = about.get("image_side", _SIDE_BEFORE)
    return TrainedModel(model, variables, view, side, tuple(about["class_names"]), config)
