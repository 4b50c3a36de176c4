"""Source of an export: a restored model, its predictor, and the hash of its checkpoint."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from cifsel.prediction import coverage, predictor, restoring
from cifsel.prediction.predictor import Predictor
from cifsel.prediction.selfie_model import SelfieModel
from cifsel.prediction.trained_model import TrainedModel
from cifsel.runtime import remote
from cifsel.runtime.paths import expanded


@dataclasses.dataclass(frozen=True)
class Source:
    """A restored model that is to be exported.

    Attributes:
      trained: the model, which computes in float32.
      predictor: answers by the same model. An export is compared with it.
      computes_in: dtype of the activations by which `cifsel.predict` computes.
      set_from: by coverage, the least probability of a class in a set of classes.
    """

    trained: TrainedModel | SelfieModel
    predictor: Predictor
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
    run = restoring.run_of(remote.place(expanded(folder)))
    trained = restoring.restore(run)
    computes_in = jnp.dtype(trained.model.backbone.dtype).name
    trained = in_float32(trained)
    made = predictor.of(trained)
    set_from = coverage.thresholds(made, folder)
    return Source(trained, made, computes_in, set_from)


def in_float32(trained: TrainedModel | SelfieModel) -> TrainedModel | SelfieModel:
    """The same model with activations in float32, which every runtime has."""
    backbone = trained.model.backbone.clone(dtype=jnp.float32)
    return dataclasses.replace(trained, model=trained.model.clone(backbone=backbone))


def weights_of(source: Source) -> dict[str, Any]:
    """The variables of the backbone alone: {'params': ..., 'batch_stats': ...}, NumPy arrays."""
    variables = source.trained.variables
    return jax.device_get({kind: variables[kind]["backbone"] for kind in variables})
