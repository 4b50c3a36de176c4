"""The classifier of a run of task 1, restored from its checkpoint."""

import dataclasses
from typing import Any, Protocol

import numpy as np
from etils import epath
from jaxtyping import Float
from ml_collections import ConfigDict

from cifsel import build
from cifsel.errors import UserError
from cifsel.evaluation import features
from cifsel.models.classifier import Classifier
from cifsel.runtime import executables
from cifsel.workdir import identity, model_meta
from cifsel.workdir.checkpoints import FOLDER, Checkpoints

Tree = Any


class Stored(Protocol):
    """Where variables are stored: the checkpoints of a run, or a model file."""

    def model(self, template: Tree) -> Tree:
        """The variables, as arrays like those of `template`."""


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A classifier as its run left it.

    Attributes:
      model: the classifier.
      variables: its best `params` and `batch_stats`.
      view: how images are shown to it.
      image_side: in pixels, of the images it was trained on, before `view` resized them.
      class_names: K names, in the order of the logits.
      config: of the run.
      fingerprint: of the data set and its splits.
      digest: of the checkpoint's files.
      meta: of the checkpoint. None for a model that was not restored.
      weights: how its kernels were stored, 'float32', 'float16' or 'int8'.
      calibration: the probability of the true class of each validation image, where a model file
        has them. A run has them in predictions.npz.
    """

    model: Classifier
    variables: Tree
    view: features.View
    image_side: int
    class_names: tuple[str, ...]
    config: ConfigDict
    fingerprint: str
    digest: str = ""
    meta: model_meta.ClassifierMeta | None = None
    weights: str = "float32"
    calibration: Float[np.ndarray, " n"] | None = None


def restore(run: epath.Path) -> TrainedModel:
    """Restores the best variables of a run.

    Args:
      run: its workdir.

    Raises:
      UserError: there is no checkpoint of task 1, or it is damaged or of another run.
    """
    if not (run / FOLDER).exists():
        raise UserError(f"{run} has no checkpoint ({run / FOLDER} is not there)")
    with Checkpoints(run, read_only=True) as checkpoints:
        meta = model_meta.parse(checkpoints.meta(), str(run / FOLDER))
        if isinstance(meta, model_meta.SelfieMeta):
            raise UserError(f"{run} is of task 2: give the workdir of a run of task 1")
        identity.check_folder(run, meta, str(run / FOLDER))
        return restore_classifier(meta, checkpoints, str(run / FOLDER))


def restore_classifier(
    meta: model_meta.ClassifierMeta, stored: Stored, folder: str
) -> TrainedModel:
    """Restores the best variables from checkpoints or a file whose `meta` has been read.

    Args:
      meta: of the newest checkpoint.
      stored: the checkpoints of the run, or the file.
      folder: of the checkpoints, or the file, for messages.

    Raises:
      UserError: the checkpoint is damaged, or of another version of cifsel.
    """
    try:
        config = ConfigDict(meta.config)
        model, init = build.classifier(config, len(meta.class_names))
        view = build.view(config)
        template = executables.kept_shapes(init)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise model_meta.not_understood(folder, error) from error
    return TrainedModel(
        model,
        stored.model(template),
        view,
        meta.image_side,
        meta.class_names,
        config,
        meta.fingerprint,
        meta=meta,
    )
