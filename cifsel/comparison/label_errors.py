"""Suspected label errors: test images that every run takes for one and the same other class.

A single network that contradicts a label is usually wrong. Networks of different kinds, each
trained from several seeds, seldom make the same mistake with confidence. The images that remain
are for people to look at. In CIFAR-100 they include a crab labelled lobster and a grown woman
labelled girl, and some errors that all networks share.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

# Chosen by what people say of CIFAR-100's labels (experiments/label_doubts.py). They reject about
# half of the labels that two runs doubt from here on, and a quarter of all that they looked at.
MIN_PROBABILITY = 0.75


@dataclasses.dataclass(frozen=True)
class LabelError:
    """A suspected label error: a test image that all runs take for one class, not its label.

    Attributes:
      position: index into the test images.
      label: the class it is labelled as.
      predicted: the most probable class according to every run.
      probability: of the predicted class, mean over the runs.
    """

    position: int
    label: int
    predicted: int
    probability: float


def find_label_errors(
    probabilities: Sequence[Float[np.ndarray, "n k"]],
    labels: Int[np.ndarray, " n"],
    min_probability: float = MIN_PROBABILITY,
) -> list[LabelError]:
    """Finds the images on which all runs agree, with confidence, on one wrong class.

    Args:
      probabilities: class probabilities of each run.
      labels: 0..K-1.
      min_probability: least mean probability of the predicted class.

    Returns:
      By descending mean probability. Equally probable ones keep the order of the images.

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
    agreed = (predictions == predicted).all(axis=0)
    positions = np.flatnonzero(agreed & (predicted != labels) & (mean >= min_probability))
    return [
        LabelError(
            int(position), int(labels[position]), int(predicted[position]), float(mean[position])
        )
        for position in positions[np.argsort(-mean[positions], kind="stable")]
    ]
