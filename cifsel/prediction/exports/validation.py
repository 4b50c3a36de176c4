"""The validation images of a run, on which an export with rounded weights is measured."""

import numpy as np
from jaxtyping import Float, Int, UInt8

from cifsel import build
from cifsel.errors import UserError
from cifsel.prediction.exports.parity import Answers
from cifsel.prediction.exports.source import Source
from cifsel.prediction.trained_model import TrainedModel
from cifsel.runtime.bars import image_bar

_BATCH = 32


def images_of(
    source: Source, what: str, advice: str
) -> tuple[UInt8[np.ndarray, "n s s 3"], Int[np.ndarray, " n"]]:
    """The images and labels that the run was chosen on.

    Args:
      source: the model.
      what: is measured on them, for messages.
      advice: what to do without them, for messages.

    Raises:
      UserError: the images cannot be had, or they are others now.
    """
    trained = source.trained
    if not isinstance(trained, TrainedModel):
        raise UserError(
            f"{what} is measured on validation images, and a classifier of own photos has none:"
            f" {advice}"
        )
    try:
        dataset = build.dataset(trained.config)
    except UserError as error:
        raise UserError(
            f"{what} is measured on the run's validation images, which cannot be had ({error}):"
            f" {advice}"
        ) from error
    if dataset.fingerprint != trained.fingerprint:
        raise UserError(
            f"{what} is measured on the run's validation images, but the data are others now:"
            f" {advice}"
        )
    return np.asarray(dataset.val.images[:]), dataset.val.labels


def probabilities(
    answers: Answers, images: UInt8[np.ndarray, "n s s 3"]
) -> Float[np.ndarray, "n k"]:
    """Returns the answers of a model for each image. Shows a progress bar."""
    parts = []
    with image_bar("validation images") as bar:
        task = bar.add_task("validation images", total=len(images))
        for start in range(0, len(images), _BATCH):
            parts.append(answers(images[start : start + _BATCH]))
            bar.update(task, completed=min(start + _BATCH, len(images)))
    return np.concatenate(parts)


def accuracy(probabilities: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"]) -> float:
    """The share of images whose likeliest class is the label."""
    return float((probabilities.argmax(1) == labels).mean())
