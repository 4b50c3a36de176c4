"""Restores the model of a run of either task from its checkpoint, or from a model file."""

import dataclasses

from etils import epath

from cifsel import workdir
from cifsel.errors import UserError
from cifsel.prediction import preprocessing, trained_model
from cifsel.prediction.selfie_model import SelfieModel, restore_selfie
from cifsel.prediction.trained_model import Stored, TrainedModel
from cifsel.runtime import remote
from cifsel.runtime.paths import exists, is_file
from cifsel.workdir import checksums, identity, model_file, model_meta
from cifsel.workdir.checkpoints import FOLDER, Checkpoints
from cifsel.workdir.model_file import ModelFile
from cifsel.workdir.model_meta import ClassifierMeta, SelfieMeta


def restore(run: epath.Path) -> TrainedModel | SelfieModel:
    """Restores a model of either task. Raises as `load`.

    Args:
      run: the workdir of a run, or a model file, as `run_of` returns it.
    """
    if is_file(run):
        return from_file(model_file.read(run))
    checkpoint = str(run / FOLDER)
    with Checkpoints(run, read_only=True) as checkpoints:
        meta = model_meta.parse(checkpoints.meta(), checkpoint)
        identity.check_folder(run, meta, checkpoint)
        made = _restored(meta, checkpoints, checkpoint)
        return dataclasses.replace(made, digest=_digest(run, checkpoints))


def from_file(file: ModelFile) -> TrainedModel | SelfieModel:
    """Restores the model of a model file.

    Raises:
      UserError: its parts do not fit each other, or it wants images prepared in another way.
    """
    made = _restored(file.meta, file, file.path)
    side = made.image_side if isinstance(made, TrainedModel) else made.view.image_size
    own = preprocessing.describe(made.model.name_of_model, made.view, side)
    preprocessing.check(file.facts.preprocessing, own, file.path)
    if isinstance(made, TrainedModel):
        weights, known = file.facts.weights, file.calibration
        return dataclasses.replace(made, digest=file.digest, weights=weights, calibration=known)
    return dataclasses.replace(made, digest=file.digest)


def _restored(
    meta: ClassifierMeta | SelfieMeta, stored: Stored, place: str
) -> TrainedModel | SelfieModel:
    """Builds the model and fills it. `place` is where it is stored, for messages."""
    if isinstance(meta, ClassifierMeta):
        return trained_model.restore_classifier(meta, stored, place)
    try:
        return restore_selfie(meta, stored)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise model_meta.not_understood(place, error) from error


def _digest(run: epath.Path, checkpoints: Checkpoints) -> str:
    """The digest of what was restored."""
    return checksums.digest(run / FOLDER / str(checkpoints.latest), ("meta/", "model/"))


def run_of(folder: epath.Path) -> epath.Path:
    """The workdir of a run, or a model file.

    Args:
      folder: the workdir, the folder of a comparison, whose best.json names the run, or the file.

    Raises:
      UserError: there is no checkpoint.
    """
    remote.reach(folder)
    if exists(folder / FOLDER) or is_file(folder):
        return folder
    if not exists(folder / workdir.BEST):
        lack = f"has neither {FOLDER}/ nor {workdir.BEST}" if exists(folder) else "is not there"
        raise UserError(
            f"{folder} {lack}: give the workdir of a run, a comparison's folder, or a model file"
        )
    named = workdir.read_json(folder / workdir.BEST).get("run")
    if not isinstance(named, str):
        raise UserError(f"{folder / workdir.BEST} does not name a run: make the comparison again")
    run = remote.place(named) if remote.is_remote(named) else folder / named
    remote.reach(run)
    if not exists(run / FOLDER):
        raise UserError(
            f"{folder / workdir.BEST} leads to {run}, which has no checkpoint ({run / FOLDER} is"
            " not there): give the folder that the run is in now"
        )
    return run
