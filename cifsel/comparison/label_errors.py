"""Test images whose label may be wrong: where every model is sure of one and the same other class.

One network that contradicts a label has usually erred; networks of different kinds, each trained
from several seeds, seldom err alike and with confidence. What they agree on is for people to look
at: in CIFAR-100 it turns up a crab labelled lobster and a grown woman labelled girl, and some
errors that all networks share.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

# Chosen by eye on CIFAR-100, with four runs of two models: of the 26 test images above it some two
# thirds are mislabelled or could carry either label. Further down, plain errors are more frequent.
LEAST = 0.8


@dataclasses.dataclass(frozen=True)
class Suspect:
    """A test image that all runs take for one class, which is not its label.

    Attributes:
      position: index into the test images.
      label: the class it is labelled as.
      predicted: the class that every run gives the highest probability.
      probability: of the predicted class, mean over the runs.
    """

    position: int
    label: int
    predicted: int
    probability: float


def find(
    probabilities: Sequence[np.ndarray], labels: np.ndarray, least: float = LEAST
) -> list[Suspect]:
    """Finds the images on which all runs agree, with confidence, on one wrong class.

    Args:
      probabilities: of each run, (N, K) float, rows sum to 1.
      labels: (N,) integer, 0..K-1.
      least: mean probability of the class that is agreed on, at least.

    Returns:
      By descending mean probability; equally probable ones in the order of the images.

    Raises:
      ValueError: there are no runs, or shapes do not fit together.
    """
    shapes = {run.shape for run in probabilities}
    if len(shapes) != 1:
        raise ValueError(f"need runs over the same images and classes, got {sorted(shapes)}")
    (shape,) = shapes
    if len(shape) != 2 or labels.shape != shape[:1]:
        raise ValueError(
            f"probabilities {shape} do not fit labels {labels.shape}: need (N, K), (N,)"
        )
    predictions = np.stack([run.argmax(axis=1) for run in probabilities])
    predicted = predictions[0]
    mean = np.mean([run[np.arange(len(run)), predicted] for run in probabilities], axis=0)
    agreed = (predictions == predicted).all(axis=0) & (predicted != labels) & (mean >= least)
    positions = np.flatnonzero(agreed)
    return [
        Suspect(
            int(position), int(labels[position]), int(predicted[position]), float(mean[position])
        )
        for position in positions[np.argsort(-mean[positions], kind="stable")]
    ]
