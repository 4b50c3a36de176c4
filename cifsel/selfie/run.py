"""Task 2 from top to bottom: photos, nested cross-validation, final classifier, report."""

import dataclasses
import time
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from cifsel import config as config_lib
from cifsel import workdir
from cifsel.config.validation import validate
from cifsel.data.photos.crops import NONE
from cifsel.data.photos.labelled import Photos
from cifsel.prediction import seen
from cifsel.runtime import remote
from cifsel.runtime.bars import working
from cifsel.runtime.terminal import count, say
from cifsel.selfie import serialization
from cifsel.selfie.outcome import Outcome
from cifsel.selfie.photos import (
    Images,
    cropper_of,
    other_crops,
    prepare_photos,
    read_photos,
)
from cifsel.selfie.protocol import folds
from cifsel.selfie.protocol.candidate_probe import (
    ProbeSettings,
    cross_validate_probe,
    train_final_probe,
)
from cifsel.selfie.protocol.candidates import Candidate, FinalClassifier, differences_of
from cifsel.selfie.protocol.layer_features import stacked_points
from cifsel.selfie.protocol.learning_curve import CurvePoint, compute_learning_curve
from cifsel.selfie.protocol.permutation import PermutationTest, permutation_test
from cifsel.selfie.protocol.photo_set import PhotoSet
from cifsel.selfie.protocol.pretrained import PretrainedBackbone, pretrained_backbones
from cifsel.selfie.report import cautions, sentences
from cifsel.selfie.showing import show_again, show_outcome, write_report
from cifsel.workdir import lock, provenance
from cifsel.workdir.model_meta import SeenPhoto
from cifsel.workdir.summaries import Writer


def evaluate_and_train(
    config: ConfigDict, folder: str, writer: Writer, *, init_from: str = ""
) -> dict[str, Any]:
    """Scores classifiers of the photos by nested cross-validation, and trains one on all photos.

    Args:
      config: as configs/selfie.py describes it.
      folder: the workdir, local or gs://.
      writer: of summaries.
      init_from: takes the place of config.init_from, but is no part of the run's config. So the
        run is the same when its folder has another name. It is not compared with ImageNet's
        weights, which may have to be downloaded.

    Returns:
      The content of metrics.json.

    Raises:
      UserError: something given cannot be used.
    """
    validate(config)
    target = remote.place(folder)
    with lock.alone(target):
        if workdir.check(target, config_lib.to_json(config)):
            return show_again(config, target, writer)
        return _evaluate_and_train(config, target, writer, init_from)


def _evaluate_and_train(
    config: ConfigDict, target: epath.Path, writer: Writer, init_from: str
) -> dict[str, Any]:
    began, settings = time.perf_counter(), config_lib.to_json(config)
    decoded = read_photos(config.photos, skip_unreadable=config.skip_unreadable)
    backbones = pretrained_backbones(
        init_from or config.init_from,
        imagenet_model=config.model,
        weights_dir=config.weights_dir,
        image_size=config.image_size,
        compare=not init_from,
    )
    cropper = cropper_of(config)
    photos, images = prepare_photos(
        decoded,
        cropper,
        backbones[0].image_size,
        burst_seconds=config.burst_seconds,
        people_csv=config.people_csv,
        people_pattern=config.people_pattern,
        hold_out=config.hold_out,
    )
    workdir.write_json(target / workdir.CONFIG, settings)

    candidates = cross_validate_candidates(config, decoded, photos, images, backbones)
    chosen = candidates[0]
    permutation = run_permutation_test(config, photos, chosen)
    learning_curve = run_learning_curve(config, photos, chosen)
    seconds = time.perf_counter() - began

    classifier = train_final(config, photos, chosen)
    serialization.save_checkpoint(
        target,
        classifier,
        chosen.backbone,
        photos.class_names,
        cropper=cropper,
        config=settings,
        seen=_seen_photos(decoded, chosen),
    )
    outcome = Outcome(
        name=config.name,
        recipe=config.recipe,
        task=config.task,
        photos=photos,
        candidates=tuple(candidate.scores for candidate in candidates),
        differences=differences_of(candidates, photos.labels),
        permutation=permutation,
        learning_curve=learning_curve,
        final=classifier.settings,
        seconds=seconds,
        provenance=provenance.environment(),
        drawn=config.photos == "drawn",
    )
    return report_outcome(config, target, outcome, images, writer)


def _seen_photos(decoded: Photos, chosen: Candidate) -> tuple[SeenPhoto, ...]:
    """The photos of training, with the answers of models that had not seen them."""
    held_out = chosen.scores.photo_by_photo.probabilities
    return tuple(
        SeenPhoto(seen.digest(image), int(label), tuple(float(p) for p in answer), seen.look(image))
        for image, label, answer in zip(decoded.images, decoded.labels, held_out, strict=True)
    )


def cross_validate_candidates(
    config: ConfigDict,
    decoded: Photos,
    photos: PhotoSet,
    images: Images,
    backbones: list[PretrainedBackbone],
) -> list[Candidate]:
    """Scores all candidates by nested cross-validation.

    Returns:
      The probe of the user's backbone, which the final model is made from, the probes of other
      backbones, and probes of other crops.
    """
    own = backbones[0]
    settings = probe_settings(config)
    repeated = folds.repeated(
        photos.labels, photos.groups, folds=config.folds, repeats=config.repeats, seed=config.seed
    )
    one_by_one = None
    if photos.count <= config.leave_one_out:
        one_by_one = folds.leave_one_out(
            photos.labels, photos.groups, folds=config.folds, seed=config.seed
        )

    def probe(backbone: PretrainedBackbone, images: Images, crop: str) -> Candidate:
        return cross_validate_probe(
            photos,
            images,
            backbone,
            settings,
            crop=crop,
            repeated=repeated,
            leave_one_out=one_by_one,
        )

    with working(f"cross-validating, {count(config.repeats, 'repetition')}"):
        candidates = [probe(backbone, images, config.crop) for backbone in backbones]
    for crop, other_images in other_crops(config, decoded, images, own.image_size):
        words = f"crop={crop}" if crop != NONE else "without the crop"
        renamed = dataclasses.replace(own, name=f"{own.name}, {words}")
        candidates.append(probe(renamed, other_images, crop))
    for candidate in candidates:
        kfold = candidate.scores.kfold
        low, high = kfold.accuracy_interval
        say(
            f"{candidate.scores.name}: {kfold.accuracy:.1%} right out of fold"
            f" ({low:.0%} to {high:.0%}), AUC {kfold.auc:.2f}"
        )
    return candidates


def probe_settings(config: ConfigDict) -> ProbeSettings:
    """The features and penalties of the probes."""
    depths = tuple(config.depths)
    if config.layers == "average":
        return ProbeSettings(depths, (config.grid,), (config.penalty,), average=True)
    return ProbeSettings(depths, tuple(config.grids), tuple(config.l2), average=False)


def run_permutation_test(
    config: ConfigDict, photos: PhotoSet, probe: Candidate
) -> PermutationTest | None:
    """Tests whether the probe's accuracy is more than luck. None without permutations."""
    if not config.permutations:
        return None
    settings = probe_settings(config)
    with working(f"dealing out the labels anew, {count(config.permutations, 'time')}"):
        return permutation_test(
            stacked_points(probe.features),
            photos.labels,
            photos.groups,
            folds=config.folds,
            l2=settings.l2,
            average=settings.average,
            observed=probe.scores.kfold.balanced_accuracy,
            permutations=config.permutations,
            seed=config.seed,
        )


def run_learning_curve(
    config: ConfigDict, photos: PhotoSet, probe: Candidate
) -> tuple[CurvePoint, ...]:
    """Computes the probe's accuracy by the number of photos."""
    settings = probe_settings(config)
    with working("learning from fewer photos"):
        return compute_learning_curve(
            stacked_points(probe.features),
            photos.labels,
            photos.groups,
            probe.folds,
            l2=settings.l2,
            average=settings.average,
            seed=config.seed,
        )


def train_final(config: ConfigDict, photos: PhotoSet, candidate: Candidate) -> FinalClassifier:
    """Trains the chosen candidate on all photos."""
    nothing_held_out = folds.nothing_held_out(
        photos.labels, photos.groups, folds=config.folds, seed=config.seed
    )
    return train_final_probe(candidate, photos, probe_settings(config), nothing_held_out)


def report_outcome(
    config: ConfigDict, target: epath.Path, outcome: Outcome, images: Images, writer: Writer
) -> dict[str, Any]:
    """Writes the report and, last, metrics.json, whose content is returned."""
    write_report(config, target, outcome, images, writer)
    metrics = serialization.metrics_json(
        outcome,
        config_lib.to_json(config),
        sentence=sentences.summary(outcome),
        notes=cautions.warnings(outcome),
    )
    workdir.write_json(target / workdir.METRICS, metrics)
    show_outcome(target, outcome)
    return metrics
