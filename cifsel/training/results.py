"""The results of a run of task 1, as metrics.json holds them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from cifsel.evaluation.cost import Cost
from cifsel.evaluation.prediction_sets import SetScore
from cifsel.evaluation.split_score import SplitScore
from cifsel.models.weights.backbone import WeightsFile
from cifsel.training.progress import Progress
from cifsel.workdir.provenance import Devices, Provenance


@dataclasses.dataclass(frozen=True)
class RunMetrics:
    """The results of a run, with what is needed to repeat and compare it.

    Attributes:
      name: of the config.
      recipe: of the config.
      model: of the config.
      dataset: of the config.
      examples: number of images of 'train', 'val' and 'test'.
      fingerprint: of the data set, see `splits.Dataset`.
      config: all fields of the config, JSON-ready.
      val: scores of the validation images.
      test: scores of the test images.
      training: the epochs of fine-tuning. Without fine-tuning it is empty.
      probe: the penalties that were tried, see `probe.Solution.to_json`. None without a probe.
      cost: of the model and of the run.
      weights: the file of the backbone's weights. None for a model from scratch.
      sets: how sets of classes do that are to hold the true one with a stated probability. Empty
        in records of earlier versions.
      provenance: versions, devices, command, commit and time.
    """

    name: str
    recipe: str
    model: str
    dataset: str
    examples: dict[str, int]
    fingerprint: str
    config: dict[str, Any]
    val: SplitScore
    test: SplitScore
    training: Progress
    probe: dict[str, Any] | None
    cost: Cost
    weights: WeightsFile | None
    provenance: Provenance
    sets: tuple[SetScore, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the content of metrics.json."""
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        provenance = content.pop("provenance").to_json()
        nested = {
            "val": self.val.to_json(),
            "test": self.test.to_json(),
            "training": self.training.to_json(),
            "cost": dataclasses.asdict(self.cost),
            "weights": dataclasses.asdict(self.weights) if self.weights else None,
            "sets": [dataclasses.asdict(score) for score in self.sets],
        }
        return content | nested | provenance

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "RunMetrics":
        """Reads the content of metrics.json.

        Raises:
          KeyError, TypeError, ValueError: it is not the content of a metrics.json.
        """
        content = dict(content)
        origin = {field.name: content.pop(field.name) for field in dataclasses.fields(Provenance)}
        provenance = Provenance(**{**origin, "devices": Devices(**origin["devices"])})
        nested = {
            "val": SplitScore.from_json(content["val"]),
            "test": SplitScore.from_json(content["test"]),
            "training": Progress.from_json(content["training"]),
            "cost": Cost(**content["cost"]),
            "weights": WeightsFile(**content["weights"]) if content["weights"] else None,
            "sets": tuple(map(SetScore.from_json, content.get("sets", ()))),
        }
        return cls(**{**content, **nested}, provenance=provenance)
