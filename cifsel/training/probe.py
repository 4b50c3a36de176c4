"""Linear probe: multinomial logistic regression on cached features of a fixed backbone.

The problem is convex, so its solution depends on the features and the penalty alone. There is no
learning rate, no schedule and no seed. The penalty is chosen on the validation images.
"""

import dataclasses
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from cifsel.training import lbfgs
from cifsel.training.lbfgs import Weights

# The search for a penalty ends here. Below, the penalty has no effect. Above, the features have
# none.
SMALLEST_L2, LARGEST_L2 = 1e-9, 1e3
# Losses in float32 that differ by less than this many nats count as equal.
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Search:
    """How to search for the penalty.

    Attributes:
      l2_grid: penalties to begin with. l2 / 2 times the squared norm of the standardised kernel is
        added to the mean loss.
      max_steps: largest number of L-BFGS iterations for a penalty.
      tolerance: gradient norm at which a solution is accepted.
    """

    l2_grid: tuple[float, ...]
    max_steps: int
    tolerance: float


@dataclasses.dataclass(frozen=True)
class Trial:
    """A penalty that was tried.

    Attributes:
      l2: the penalty.
      train_loss: mean cross-entropy of the training images in nats, without the penalty.
      val_loss: the same of the validation images.
      val_accuracy: share of the validation images that are classified right.
      steps: L-BFGS iterations.
      gradient_norm: norm of the gradient at the end.
    """

    l2: float
    train_loss: float
    val_loss: float
    val_accuracy: float
    steps: int
    gradient_norm: float


@dataclasses.dataclass(frozen=True)
class Solution:
    """The chosen classifier. It takes features as they are, not standardised ones.

    Attributes:
      kernel: weights of the features.
      bias: of each class.
      chosen: the trial that they come from.
      trials: all trials, by ascending penalty.
    """

    kernel: Float[np.ndarray, "d k"]
    bias: Float[np.ndarray, " k"]
    chosen: Trial
    trials: tuple[Trial, ...]

    def logits(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Computes logits of features."""
        return features @ self.kernel + self.bias

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON form of the trials, without the weights."""
        return {
            "l2": self.chosen.l2,
            "chosen": dataclasses.asdict(self.chosen),
            "trials": [dataclasses.asdict(trial) for trial in self.trials],
        }


class Labelled(NamedTuple):
    """Features with labels."""

    features: Float[np.ndarray, "n d"]
    labels: Int[np.ndarray, " n"]


def fit(
    train: Labelled,
    val: Labelled,
    num_classes: int,
    search: Search,
    class_weights: Float[np.ndarray, " k"] | None = None,
) -> Solution:
    """Solves for every penalty of a grid and keeps the one of least validation loss.

    The loss decides and not the accuracy, because it varies smoothly with the penalty, while the
    accuracy on a few thousand images jumps. Of penalties whose losses are equal up to rounding,
    the largest is kept. While the best penalty is at an end of the grid, the grid grows there by a
    factor of ten. Then the half-decades on both sides of the best are tried.

    Args:
      train: features and labels of the training images.
      val: the same of the validation images.
      num_classes: K.
      search: how to search for the penalty.
      class_weights: by which the losses of a class's images count, training and validation. None
        if all images count the same.
    """
    mean, std = _moments(train.features)
    path = _Path(
        _Standardised.of(train, mean, std, class_weights),
        _Standardised.of(val, mean, std, class_weights),
        num_classes,
        search,
    )
    path.follow()
    chosen, weights = path.solved[path.best()]
    kernel = np.asarray(weights["kernel"]) / std[:, None]
    return Solution(
        kernel=kernel,
        bias=np.asarray(weights["bias"]) - mean @ kernel,
        chosen=chosen,
        trials=tuple(path.solved[l2][0] for l2 in sorted(path.solved)),
    )


def _moments(
    features: Float[np.ndarray, "n d"],
) -> tuple[Float32[np.ndarray, " d"], Float32[np.ndarray, " d"]]:
    """Computes mean and standard deviation of each feature, inf for one that never varies."""
    mean = features.mean(0, dtype=np.float64).astype(np.float32)
    std = features.std(0, dtype=np.float64).astype(np.float32)
    # A feature that never varies has no information. Dividing its rounding error by its tiny
    # spread would make it look as if it had.
    return mean, np.where(std > 1e-6 * np.maximum(np.abs(mean), 1.0), std, np.float32(np.inf))


class _Standardised(NamedTuple):
    """Images on the device: standardised features, labels, and weights if they differ."""

    x: Float[Array, "n d"]
    y: Int[Array, " n"]
    weight: Float[Array, " n"] | None

    @classmethod
    def of(
        cls,
        images: Labelled,
        mean: Float32[np.ndarray, " d"],
        std: Float32[np.ndarray, " d"],
        class_weights: Float[np.ndarray, " k"] | None,
    ) -> Self:
        x, y = lbfgs.standardise(images.features, mean, std), jnp.asarray(images.labels)
        if class_weights is None:
            return cls(x, y, None)
        return cls(x, y, jnp.asarray(class_weights[images.labels]))


@jax.jit  # A program for each operation would take a second longer to compile.
def _loss_and_accuracy(
    weights: Weights, images: _Standardised
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    logits = lbfgs.logits(weights, images.x)
    loss = lbfgs.cross_entropy(logits, images.y, images.weight)
    return loss, jnp.mean(logits.argmax(-1) == images.y)


class _Path:
    """The penalties that have been tried.

    Attributes:
      solved: trial and weights by penalty.
    """

    def __init__(
        self, train: _Standardised, val: _Standardised, num_classes: int, search: Search
    ) -> None:
        self._train, self._val, self._search = train, val, search
        self._zero = lbfgs.zero_weights(train.x.shape[1], num_classes)
        self.solved: dict[float, tuple[Trial, Weights]] = {}

    def follow(self) -> None:
        """Tries the grid, what lies beyond its ends, and the neighbours of the best."""
        for l2 in sorted(self._search.l2_grid, reverse=True):
            self._try(l2)
        while self.best() == min(self.solved) and self.best() / 10 >= SMALLEST_L2:
            self._try(self.best() / 10)
        while self.best() == max(self.solved) and self.best() * 10 <= LARGEST_L2:
            self._try(self.best() * 10)
        centre = self.best()
        for l2 in (centre / 10**0.5, centre * 10**0.5):
            self._try(l2)

    def best(self) -> float:
        """Returns the penalty of least validation loss."""
        # Very small penalties all give the same loss up to rounding. The largest of them is
        # nearest to the penalties that have an effect.
        trials = [trial for trial, _ in self.solved.values()]
        least = min(trial.val_loss for trial in trials)
        return max(trial.l2 for trial in trials if trial.val_loss <= least + _ROUNDING)

    def _try(self, l2: float) -> None:
        # The solution of the nearest penalty is the best start.
        near = min(self.solved, key=lambda other: abs(np.log(other / l2)), default=None)
        weights, steps, norm = lbfgs.solve(
            self._train.x,
            self._train.y,
            jnp.float32(l2),
            self._zero if near is None else self.solved[near][1],
            self._train.weight,
            max_steps=self._search.max_steps,
            tolerance=self._search.tolerance,
        )
        train_loss, _ = _loss_and_accuracy(weights, self._train)
        val_loss, val_accuracy = _loss_and_accuracy(weights, self._val)
        trial = Trial(
            l2=l2,
            train_loss=float(train_loss),
            val_loss=float(val_loss),
            val_accuracy=float(val_accuracy),
            steps=int(steps),
            gradient_norm=float(norm),
        )
        self.solved[l2] = trial, weights
