"""What an export is made from: a restored model, its predictor, and the hash of its checkpoint."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from cifsel.errors import UserError
from cifsel.models.classifier import Classifier
from cifsel.prediction import coverage, predictor
from cifsel.prediction.predictor import Predictor
from cifsel.prediction.selfie_model import SelfieModel
from cifsel.prediction.trained_model import TrainedModel
from cifsel.runtime import regular, remote
from cifsel.runtime.paths import expanded
from cifsel.workdir import checksums
from cifsel.workdir.checkpoints import FOLDER


@dataclasses.dataclass(frozen=True)
class Source:
    """A restored model that is to be exported.

    Attributes:
      trained: the model, which computes in float32.
      predictor: answers by the same model. An export is compared with it.
      checkpoint_sha256: of the file that has the checksums of the checkpoint's files.
      computes_in: dtype of the activations by which `cifsel.predict` computes.
      set_from: by coverage, the least probability of a class in a set of classes.
    """

    trained: TrainedModel | SelfieModel
    predictor: Predictor
    checkpoint_sha256: str
    computes_in: str
    set_from: Mapping[float, float] = dataclasses.field(default_factory=dict)

    @property
    def name_of_model(self) -> str:
        """One of `models.MODELS`."""
        return self.trained.model.name_of_model


def load(folder: str) -> Source:
    """Restores a model for its export.

    Args:
      folder: the workdir of a run of either task, or the folder of a comparison.

    Raises:
      UserError: as `prediction.load`.
    """
    run = predictor.run_of(remote.place(expanded(folder)))
    trained = predictor.restore(run)
    computes_in = jnp.dtype(trained.model.backbone.dtype).name
    trained = dataclasses.replace(trained, model=_in_float32(trained.model))
    made = predictor.of(trained)
    set_from = coverage.thresholds(made, folder)
    return Source(trained, made, _sha256(run / FOLDER), computes_in, set_from)


def _in_float32(model: Classifier) -> Classifier:
    """The same model with activations in float32, which every runtime has."""
    return model.clone(backbone=model.backbone.clone(dtype=jnp.float32))


def _sha256(checkpoints: epath.Path) -> str:
    """Hashes the checksums of the newest checkpoint.

    Raises:
      UserError: they cannot be read any more.
    """
    newest = max(int(path.name) for path in checkpoints.iterdir() if path.name.isdecimal())
    path = checkpoints / str(newest) / checksums.NAME
    try:
        return hashlib.sha256(regular.content(path, checksums.MAX_INDEX_BYTES)).hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}): put back a copy of it") from error


def weights_of(source: Source) -> dict[str, Any]:
    """The variables of the backbone alone: {'params': ..., 'batch_stats': ...}, NumPy arrays."""
    variables = source.trained.variables
    return jax.device_get({kind: variables[kind]["backbone"] for kind in variables})
