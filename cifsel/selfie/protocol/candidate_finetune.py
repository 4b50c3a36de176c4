"""A candidate by fine-tuning: the last layers of the backbone learn as well."""

import dataclasses
from collections import Counter

import numpy as np
from jaxtyping import UInt8

from cifsel.evaluation.distances import Typical
from cifsel.runtime.terminal import count, say
from cifsel.selfie.protocol import familiarity, scores
from cifsel.selfie.protocol import folds as folds_lib
from cifsel.selfie.protocol.candidates import (
    FINETUNE,
    Candidate,
    CandidateScores,
    EpochLoss,
    EpochsChoice,
    FinalClassifier,
    FinalSettings,
)
from cifsel.selfie.protocol.finetuning import EPOCHS, FineTuned, fine_tune_in_folds, layer_inputs
from cifsel.selfie.protocol.folds import Folds
from cifsel.selfie.protocol.layer_features import LayerFeatures, extract_features
from cifsel.selfie.protocol.photo_set import PhotoSet
from cifsel.selfie.protocol.pretrained import PretrainedBackbone


def cross_validate_finetuning(
    photos: PhotoSet,
    images: UInt8[np.ndarray, "n s s 3"],
    backbone: PretrainedBackbone,
    *,
    tuned_layers: int,
    l2: tuple[float, ...],
    repeated: Folds,
) -> Candidate:
    """Scores fine-tuning by the first repetition of nested cross-validation alone, as it is slow.

    Args:
      photos: labels and groups.
      images: the photos as the backbone is shown them.
      backbone: to be tuned.
      tuned_layers: the number of last layers to tune.
      l2: the penalties that the probe to start from chooses from.
      repeated: the folds of repeated k-fold.
    """
    first = folds_lib.first_repeat(repeated)
    say(f"fine-tuning the last {count(tuned_layers, 'layer')} in {len(first.test)} folds")
    last = (backbone.model.backbone.layer_names[-1], 1)
    (last_layer,) = extract_features(backbone, images, (last,))
    tuned = _fine_tune(
        photos, images, backbone, last_layer, tuned_layers=tuned_layers, l2=l2, folds=first
    )
    probabilities = scores.out_of_fold(tuned.probabilities, first)
    candidate_scores = CandidateScores(
        name=f"{backbone.name}, fine-tuned",
        source=backbone.origin,
        model=backbone.model_name,
        alpha=backbone.alpha,
        method=FINETUNE,
        crop=photos.crop,
        kfold=scores.score(probabilities, photos.labels, photos.groups),
        leave_one_out=None,
        choices=tuple(
            EpochsChoice(epochs, count / len(first.test))
            for epochs, count in Counter(tuned.epochs.tolist()).most_common()
        ),
        losses=tuple(
            EpochLoss(epochs, float(loss))
            for epochs, loss in zip(EPOCHS, tuned.losses.mean(0), strict=True)
        ),
    )
    return Candidate(candidate_scores, backbone, first, probabilities, (last_layer,))


def train_final_finetuned(
    candidate: Candidate,
    photos: PhotoSet,
    images: UInt8[np.ndarray, "n s s 3"],
    *,
    tuned_layers: int,
    l2: tuple[float, ...],
    nothing_held_out: Folds,
) -> FinalClassifier:
    """Fine-tunes on all photos. The number of epochs is chosen by cross-validation.

    Args:
      candidate: from `cross_validate_finetuning`.
      photos: labels.
      images: the photos as the backbone is shown them.
      tuned_layers: the number of last layers to tune.
      l2: the penalties that the probe to start from chooses from.
      nothing_held_out: a single fold that learns from all photos.
    """
    backbone, (last_layer,) = candidate.backbone, candidate.features
    tuned = _fine_tune(
        photos,
        images,
        backbone,
        last_layer,
        tuned_layers=tuned_layers,
        l2=l2,
        folds=nothing_held_out,
    )
    params = {"backbone": backbone.variables["params"]["backbone"] | tuned.backbone}
    batch_stats = backbone.variables["batch_stats"]
    changed = dataclasses.replace(
        backbone, variables={"params": params, "batch_stats": batch_stats}
    )
    place = (last_layer.layer, last_layer.grid)
    # Of the tuned network, as that is what sees new photos.
    pooled = extract_features(changed, images, [place])[0].pooled
    return FinalClassifier(
        settings=FinalSettings(
            layers=(last_layer.layer,),
            grid=last_layer.grid,
            method=FINETUNE,
            l2=None,
            temperature=float(tuned.temperature[0]),
            # Out of fold, as the final classifier has learned from every photo.
            sure=scores.sure(candidate.probabilities, photos.labels),
            unlike_from=familiarity.largest_distance(pooled, photos.groups),
        ),
        params=params,
        batch_stats=batch_stats,
        kernel=tuned.kernel,
        bias=tuned.bias,
        typical=Typical.of(pooled),
    )


def _fine_tune(
    photos: PhotoSet,
    images: np.ndarray,
    backbone: PretrainedBackbone,
    last_layer: LayerFeatures,
    *,
    tuned_layers: int,
    l2: tuple[float, ...],
    folds: Folds,
) -> FineTuned:
    # The first layer is never tuned, as the tuned ones take the output of a layer before them.
    layers = backbone.model.backbone.layer_names[1:][-tuned_layers:]
    forward = layer_inputs(backbone.model, layers)
    pixels = images.astype(np.float32)
    maps = [
        np.concatenate([np.asarray(forward(backbone.variables, image[None])) for image in view])
        for view in (pixels, pixels[:, :, ::-1])
    ]
    return fine_tune_in_folds(
        backbone.model,
        backbone.variables,
        maps=(maps[0], maps[1]),
        rotated=last_layer.rotated,
        labels=photos.labels,
        folds=folds,
        layers=layers,
        l2=l2,
        num_classes=photos.num_classes,
    )
