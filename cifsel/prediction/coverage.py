"""The threshold of sets of classes that hold the true one with a stated probability."""

import dataclasses

import numpy as np
from jaxtyping import Float

from cifsel import workdir
from cifsel.errors import UserError
from cifsel.evaluation import prediction_sets, scoring
from cifsel.prediction.predictor import Predictor
from cifsel.prediction.restoring import run_of
from cifsel.runtime import remote
from cifsel.runtime.paths import expanded, is_file
from cifsel.workdir import predictions
from cifsel.workdir.model_meta import SELFIE


def with_sets(predictor: Predictor, folder: str, coverage: float) -> Predictor:
    """Lets a predictor answer with sets of classes.

    Args:
      predictor: of the folder.
      folder: the workdir of a run of either task, or the folder of a comparison.
      coverage: least probability that a set holds the true class, in 0..1.

    Raises:
      UserError: the coverage is out of range, or too high for the number of images that the model
        was not trained on. Or their predictions cannot be read.
    """
    if not 0 < coverage < 1:
        raise UserError(
            f"coverage is {coverage:g}: give a number between 0 and 1, such as 0.9 for sets that"
            " hold the true class in 90 % of the cases"
        )
    known = true_probabilities(predictor, folder)
    least = prediction_sets.least_examples(coverage)
    if len(known) < least:
        raise UserError(
            f"coverage is {coverage:g}, for which sets need {least} images that the model was not"
            f" trained on, and there are {len(known)}: give a lower one, of at most"
            f" {len(known) / (len(known) + 1):.2g}"
        )
    return dataclasses.replace(predictor, set_from=prediction_sets.threshold_of(known, coverage))


def thresholds(predictor: Predictor, folder: str) -> dict[float, float]:
    """The threshold of each of `prediction_sets.COVERAGES` that the images of a run allow.

    It is empty for a folder without predictions of images that the model was not trained on.
    """
    try:
        known = true_probabilities(predictor, folder)
    except UserError:
        return {}
    return {
        wanted: prediction_sets.threshold_of(known, wanted)
        for wanted in prediction_sets.COVERAGES
        if len(known) >= prediction_sets.least_examples(wanted)
    }


def true_probabilities(predictor: Predictor, folder: str) -> Float[np.ndarray, " n"]:
    """The probability of the true class of each image that the model was not trained on.

    For task 1, these are the validation images. A model file has their probabilities. For task 2,
    they are the photos of training, with the answers of models that had not seen them.

    Raises:
      UserError: the run has no such predictions.
    """
    if predictor.task == SELFIE:
        if not predictor.seen:
            raise UserError(f"{folder} has no held-out answers, which sets of classes need")
        return np.array([photo.held_out[photo.label] for photo in predictor.seen])
    if predictor.calibration is not None:
        return predictor.calibration
    run = run_of(remote.place(expanded(folder)))
    if is_file(run):
        raise UserError(
            f"{run} has no answers to validation images, which sets of classes need: export it"
            " again where the images of the run are"
        )
    path = run / workdir.PREDICTIONS
    arrays = predictions.read(path)
    if tuple(arrays["class_names"].tolist()) != predictor.class_names:
        raise UserError(f"{path} is of other classes than the checkpoint: put back its own file")
    probabilities = scoring.softmax(arrays["val_logits"] / predictor.temperature)
    labels = arrays["val_labels"]
    return probabilities[np.arange(len(labels)), labels]
