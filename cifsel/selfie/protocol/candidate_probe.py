"""A candidate by linear probing: logistic regression on the features of a frozen backbone."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8

from cifsel.evaluation.distances import Typical
from cifsel.selfie.protocol import familiarity, logistic, scores
from cifsel.selfie.protocol.candidates import (
    Candidate,
    CandidateScores,
    FinalClassifier,
    FinalSettings,
    ProbeChoice,
)
from cifsel.selfie.protocol.folds import Folds
from cifsel.selfie.protocol.layer_features import (
    LayerFeatures,
    extract_features,
    layers_and_grids,
    stacked_points,
)
from cifsel.selfie.protocol.logistic import RotatedFeatures
from cifsel.selfie.protocol.nested_cv import (
    NestedPredictions,
    balanced,
    nested_cross_validation,
)
from cifsel.selfie.protocol.photo_set import PhotoSet
from cifsel.selfie.protocol.pretrained import PretrainedBackbone


@dataclasses.dataclass(frozen=True)
class ProbeSettings:
    """The features of a probe and its penalties.

    Attributes:
      depths: of the layers that features come from, from 0 for the first to 1 for the last.
      grids: numbers of cells along each side over which a layer's output is averaged.
      l2: penalties, for features of mean squared norm 1.
      average: average the logits of all features, with the single penalty of `l2`. Else every fold
        chooses one kind of features and a penalty.
    """

    depths: tuple[float, ...]
    grids: tuple[int, ...]
    l2: tuple[float, ...]
    average: bool


def cross_validate_probe(
    photos: PhotoSet,
    images: UInt8[np.ndarray, "n s s 3"],
    backbone: PretrainedBackbone,
    settings: ProbeSettings,
    *,
    crop: str,
    repeated: Folds,
    leave_one_out: Folds | None,
) -> Candidate:
    """Scores a probe by nested cross-validation. What is chosen is chosen in the folds.

    Args:
      photos: labels and groups.
      images: the photos as the backbone is shown them.
      backbone: gives the features.
      settings: its features and penalties.
      crop: how the photos were cut.
      repeated: the folds of repeated k-fold.
      leave_one_out: the folds of leave-one-out. None to go without it.
    """
    places = layers_and_grids(backbone.model, settings.depths, settings.grids)
    layer_features = extract_features(backbone, images, places)
    points = stacked_points(layer_features)

    def cross_validate(folds: Folds) -> NestedPredictions:
        return nested_cross_validation(
            points,
            photos.labels,
            folds,
            settings.l2,
            photos.num_classes,
            average=settings.average,
        )

    predictions = cross_validate(repeated)
    probabilities = scores.out_of_fold(predictions.probabilities, repeated)
    leave_one_out_scores = None
    if leave_one_out is not None:
        one_by_one = cross_validate(leave_one_out).probabilities
        leave_one_out_scores = scores.score(
            scores.out_of_fold(one_by_one, leave_one_out), photos.labels, photos.groups
        )
    candidate_scores = CandidateScores(
        name=f"{backbone.name}, probe",
        source=backbone.origin,
        model=backbone.model_name,
        alpha=backbone.alpha,
        crop=crop,
        kfold=scores.score(probabilities, photos.labels, photos.groups),
        leave_one_out=leave_one_out_scores,
        choices=_choices(predictions, layer_features, settings),
    )
    return Candidate(candidate_scores, backbone, repeated, probabilities, layer_features)


def _choices(
    predictions: NestedPredictions, places: Sequence[LayerFeatures], settings: ProbeSettings
) -> tuple[ProbeChoice, ...]:
    """Counts how often the folds chose each setting, the most frequent one first."""
    if settings.average:
        layers = tuple(place.layer for place in places)
        return (ProbeChoice(layers, places[0].grid, settings.l2[0], share=1.0),)
    counts = Counter(zip(predictions.feature.tolist(), predictions.l2.tolist(), strict=True))
    return tuple(
        ProbeChoice(
            layers=(places[feature].layer,),
            grid=places[feature].grid,
            l2=settings.l2[penalty],
            share=count / len(predictions.feature),
        )
        for (feature, penalty), count in counts.most_common()
    )


def train_final_probe(
    candidate: Candidate, photos: PhotoSet, settings: ProbeSettings, nothing_held_out: Folds
) -> FinalClassifier:
    """Trains a probe on all photos. What is chosen is chosen by cross-validation.

    Args:
      candidate: from `cross_validate_probe`.
      photos: labels.
      settings: its features and penalties.
      nothing_held_out: a single fold that learns from all photos.
    """
    predictions = nested_cross_validation(
        stacked_points(candidate.features),
        photos.labels,
        nothing_held_out,
        settings.l2,
        photos.num_classes,
        average=settings.average,
    )
    places = candidate.features
    if not settings.average:
        places = (places[int(predictions.feature[0])],)
    penalty = settings.l2[int(predictions.l2[0])]
    heads = [_solve(place.rotated, photos.labels, penalty, photos.num_classes) for place in places]
    pooled = np.concatenate([place.pooled for place in places], axis=1)
    return FinalClassifier(
        settings=FinalSettings(
            layers=tuple(place.layer for place in places),
            grid=places[0].grid,
            l2=penalty,
            temperature=float(predictions.temperature[0]),
            # Out of fold, as the final classifier has learned from every photo.
            sure=scores.sure(candidate.probabilities, photos.labels),
            unlike_from=familiarity.largest_distance(pooled, photos.groups),
        ),
        # One head on all features, whose logits are the mean of those of each.
        kernel=np.concatenate([kernel for kernel, _ in heads]) / len(heads),
        bias=np.mean([bias for _, bias in heads], axis=0),
        typical=Typical.of(pooled),
    )


def _solve(
    rotated: RotatedFeatures, labels: Int[np.ndarray, " n"], l2: float, num_classes: int
) -> tuple[Float[np.ndarray, "d k"], Float[np.ndarray, " k"]]:
    """Fits the head to all photos. It applies to features that are not rotated."""
    own = labels[None]
    weights = balanced(jnp.asarray(own), jnp.ones(own.shape, bool), num_classes)
    kernel, bias = logistic.solve(
        jnp.asarray(rotated.points),
        jnp.asarray(own),
        weights,
        jnp.asarray([l2], jnp.float32),
        num_classes=num_classes,
    )
    return rotated.unrotate(np.asarray(kernel[:, :, 0, 0]), np.asarray(bias[:, 0, 0]))
