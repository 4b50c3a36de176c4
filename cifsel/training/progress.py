"""The history of fine-tuning, epoch by epoch, as checkpoints and metrics.json keep it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from cifsel.workdir import records


@dataclasses.dataclass(frozen=True)
class Start:
    """The scores of the model that fine-tuning starts from, which is the probe.

    Attributes:
      val_loss: mean cross-entropy of the validation images, in nats.
      val_accuracy: of the same images, in 0..1.
    """

    val_loss: float
    val_accuracy: float


@dataclasses.dataclass(frozen=True)
class Epoch:
    """The numbers of an epoch. Losses are mean cross-entropies in nats, accuracies lie in 0..1.

    Attributes:
      epoch: number of the epoch, from 1 on.
      step: gradient steps taken by its end.
      train_loss: mean over the augmented training images, as the model saw them.
      train_accuracy: of the same images.
      val_loss: of the validation images at the end of the epoch.
      val_accuracy: of the same images.
      learning_rate: of the head in the last step.
      grad_norm: global norm of the gradient, mean over the steps.
      images_per_second: training images per second, without the evaluation.
      waiting: share of the time that steps waited for images to be read.
    """

    epoch: int
    step: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    grad_norm: float
    images_per_second: float
    waiting: float


@dataclasses.dataclass
class Progress:
    """The epochs so far.

    Attributes:
      history: all epochs, in order.
      best: the epoch of highest validation accuracy. Of equals it has the lowest loss. None while
        no epoch is better than the start.
      seconds: training time so far, over all processes that worked on this run.
      start: the probe that training starts from. None for a head of random values.
    """

    history: list[Epoch] = dataclasses.field(default_factory=list)
    best: Epoch | None = None
    seconds: float = 0.0
    start: Start | None = None

    def add(self, epoch: Epoch) -> bool:
        """Adds an epoch. Returns whether it is the best so far."""
        self.history.append(epoch)
        before = self.best or self.start
        if before is not None and _rank(epoch) <= _rank(before):
            return False
        self.best = epoch
        return True

    def exhausted(self, patience: int) -> bool:
        """Whether `patience` epochs have passed without a better one. 0 means never."""
        if not patience or not self.history:
            return False
        best = self.best.epoch if self.best else 0
        return self.history[-1].epoch - best >= patience

    @property
    def step(self) -> int:
        """Gradient steps taken by the end of the last epoch."""
        return self.history[-1].step if self.history else 0

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON form, in which a missing `best` or `start` is {}."""
        return {
            "history": [dataclasses.asdict(epoch) for epoch in self.history],
            "best": dataclasses.asdict(self.best) if self.best else {},
            "seconds": self.seconds,
            "start": dataclasses.asdict(self.start) if self.start else {},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Progress":
        """Reads what `to_json` wrote. Raises KeyError, TypeError or ValueError for other things."""
        return cls(
            records.read(list[Epoch], content["history"]),
            records.read(Epoch, content["best"]) if content["best"] else None,
            records.read(float, content["seconds"]),
            # Records of earlier versions do not have it.
            records.read(Start, content["start"]) if content.get("start") else None,
        )


def _rank(scores: Epoch | Start) -> tuple[float, float]:
    """Returns a key that orders models: accuracy first, then loss."""
    # The probe's accuracy is computed in float32, an epoch's in float64.
    return round(scores.val_accuracy, 6), -scores.val_loss
