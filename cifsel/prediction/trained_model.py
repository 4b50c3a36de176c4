"""The classifier of a run of task 1, restored from its checkpoint."""

import dataclasses
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from cifsel import build
from cifsel.errors import UserError
from cifsel.evaluation import features
from cifsel.models.classifier import Classifier
from cifsel.runtime import executables
from cifsel.workdir import identity, model_meta
from cifsel.workdir.checkpoints import FOLDER, Checkpoints

Tree = Any


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
    """

    model: Classifier
    variables: Tree
    view: features.View
    image_side: int
    class_names: tuple[str, ...]
    config: ConfigDict
    fingerprint: str
    digest: str = ""


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
    meta: model_meta.ClassifierMeta, checkpoints: Checkpoints, folder: str
) -> TrainedModel:
    """Restores the best variables from checkpoints whose `meta` has been read.

    Args:
      meta: of the newest checkpoint.
      checkpoints: of the run.
      folder: of the checkpoints, for messages.

    Raises:
      UserError: the checkpoint is damaged, or of another version of cifsel.
    """
    try:
        config = ConfigDict(meta.config)
        model, init = build.classifier(config, len(meta.class_names))
        view = build.view(config)
        template = executables.kept_shapes(init, f"{model!r} {view!r}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise model_meta.not_understood(folder, error) from error
    variables = checkpoints.model(template)
    return TrainedModel(
        model, variables, view, meta.image_side, meta.class_names, config, meta.fingerprint
    )
