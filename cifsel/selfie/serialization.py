"""The outcome of task 2 as JSON in metrics.json, and the final classifier as a checkpoint."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from etils import epath

from cifsel.data.photos.crops import Cropper
from cifsel.selfie.outcome import Outcome
from cifsel.selfie.protocol.candidates import CandidateScores, FinalClassifier
from cifsel.selfie.protocol.layer_features import RESIZE
from cifsel.selfie.protocol.learning_curve import still_rises
from cifsel.selfie.protocol.permutation import PermutationTest
from cifsel.selfie.protocol.photo_set import PhotoSet
from cifsel.selfie.protocol.pretrained import PretrainedBackbone
from cifsel.selfie.protocol.scores import Scores
from cifsel.workdir import identity, model_meta
from cifsel.workdir.checkpoints import FOLDER, Checkpoints
from cifsel.workdir.model_meta import Backbone, Crop, SeenPhoto, SelfieMeta


def metrics_json(
    outcome: Outcome, config: dict[str, Any], *, sentence: str, notes: Sequence[str]
) -> dict[str, Any]:
    """Makes the content of metrics.json.

    Args:
      outcome: of the run.
      config: of the run.
      sentence: the result in one sentence.
      notes: warnings to the reader.
    """
    return {
        "name": outcome.name,
        "recipe": outcome.recipe,
        "task": outcome.task,
        "photos": _photos_json(outcome.photos),
        "candidates": [_candidate_json(candidate) for candidate in outcome.candidates],
        "differences": [dataclasses.asdict(difference) for difference in outcome.differences],
        "permutation": _permutation_json(outcome.permutation),
        "learning_curve": [dataclasses.asdict(point) for point in outcome.learning_curve],
        "more_would_help": still_rises(outcome.learning_curve),
        "sentence": sentence,
        "notes": list(notes),
        "seconds": {"all": outcome.seconds},
        "config": config,
        **outcome.provenance.to_json(),
        "final": _with_list(dataclasses.asdict(outcome.final)),
        "sets": [
            dataclasses.asdict(made) | {"likely_coverage": list(made.likely_coverage)}
            for made in outcome.sets
        ],
    }


def _photos_json(photos: PhotoSet) -> dict[str, Any]:
    return {
        "count": photos.count,
        "class_names": list(photos.class_names),
        "per_class": photos.per_class,
        "names": list(photos.names),
        "labels": photos.labels.tolist(),
        "groups": photos.groups.tolist(),
        "group_count": photos.group_count,
        "taken": [None if taken is None else taken.isoformat() for taken in photos.taken],
        "skipped": list(photos.skipped),
        "copies": [[photos.names[i], photos.names[j], exact] for i, j, exact in photos.copies],
        "crop": photos.crop,
        "faces": [None if face is None else list(face) for face in photos.faces],
        "asked": photos.asked,
    }


def _candidate_json(candidate: CandidateScores) -> dict[str, Any]:
    leave_one_out = candidate.leave_one_out
    return {
        "name": candidate.name,
        "source": candidate.source,
        "model": candidate.model,
        "alpha": candidate.alpha,
        "crop": candidate.crop,
        "kfold": _scores_json(candidate.kfold),
        "leave_one_out": None if leave_one_out is None else _scores_json(leave_one_out),
        "choices": [_with_list(dataclasses.asdict(choice)) for choice in candidate.choices],
    }


def _with_list(content: dict[str, Any]) -> dict[str, Any]:
    """The same with its layers as a list, which JSON gives back."""
    return content | {"layers": list(content["layers"])}


def _scores_json(scores: Scores) -> dict[str, Any]:
    arrays = {
        "accuracy_interval": list(scores.accuracy_interval),
        "confusion": scores.confusion.tolist(),
        "probabilities": scores.probabilities.tolist(),
    }
    return dataclasses.asdict(scores) | arrays


def _permutation_json(test: PermutationTest | None) -> dict[str, Any] | None:
    if test is None:
        return None
    arrays = {"accuracies": test.accuracies.tolist(), "interval": list(test.interval)}
    return dataclasses.asdict(test) | arrays


def save_checkpoint(
    folder: epath.Path,
    classifier: FinalClassifier,
    backbone: PretrainedBackbone,
    class_names: Sequence[str],
    *,
    cropper: Cropper,
    config: dict[str, Any],
    seen: tuple[SeenPhoto, ...],
) -> None:
    """Saves the final classifier, with all that `cifsel.prediction` needs to know of it.

    Args:
      folder: the workdir.
      classifier: the final one.
      backbone: its backbone.
      class_names: K names.
      cropper: cuts photos to what the classifier is shown.
      config: of the run.
      seen: the photos that it has learned from.

    Raises:
      UserError: the workdir has a checkpoint of another run.
    """
    settings = classifier.settings
    meta = SelfieMeta(
        l2=settings.l2,
        temperature=settings.temperature,
        places=tuple((layer, settings.grid) for layer in settings.layers),
        backbone=Backbone(backbone.model_name, backbone.alpha),
        class_names=tuple(class_names),
        image_size=backbone.image_size,
        resize=RESIZE,
        mirror=True,
        crop=Crop(cropper.kind, cropper.margin, cropper.fallback, cropper.middle),
        sure_from=settings.sure.least if settings.sure else None,
        unlike_from=settings.unlike_from,
        init_from=backbone.origin,
        config=config,
        seen=seen,
    )
    tree = {
        "params": backbone.variables["params"],
        "batch_stats": backbone.variables["batch_stats"],
        "head": {"kernel": classifier.kernel, "bias": classifier.bias},
        "typical": {"mean": classifier.typical.mean, "spread": classifier.typical.spread},
    }
    with Checkpoints(folder) as checkpoints:
        if checkpoints.latest is not None:
            place = str(folder / FOLDER)
            identity.check_own(model_meta.parse(checkpoints.meta(), place), meta, place)
        checkpoints.save(0, model=tree, meta=meta.to_json())
