"""Task 2: what a classifier of a few photos is worth, and the classifier. Reads top to bottom."""

import dataclasses
import time
from typing import Any

import numpy as np
from etils import epath
from ml_collections import ConfigDict

from cifsel import config as config_lib
from cifsel import workdir
from cifsel.config.validation import validate
from cifsel.data import drawn_faces
from cifsel.data.photos import crops, grouping, labelled
from cifsel.prediction import predictor
from cifsel.runtime import remote
from cifsel.selfie.protocol import evidence, folds, scores
from cifsel.selfie.protocol.candidates import Album, Candidate
from cifsel.selfie.protocol.sources import Source, sources
from cifsel.selfie.report import report as selfie_report
from cifsel.selfie.report import words
from cifsel.terminal import duration, say, show_table
from cifsel.workdir import lock, provenance
from cifsel.workdir.checkpoints import Checkpoints
from cifsel.workdir.summaries import Writer


def run(config: ConfigDict, folder: str, writer: Writer) -> dict[str, Any]:
    """Scores classifiers of the photos by nested cross-validation, and makes one of all photos.

    Args:
      config: as configs/selfie.py describes it.
      folder: the workdir, local or gs://.
      writer: of summaries.

    Returns:
      What metrics.json holds.

    Raises:
      UserError: something given cannot be used.
    """
    validate(config)
    target, settings = remote.place(folder), config_lib.to_json(config)
    with lock.alone(target):
        workdir.check(target, settings)
        if (target / workdir.METRICS).exists():
            say(f"{target} is finished already; its report is {target / 'report.html'}")
            return workdir.read_json(target / workdir.METRICS)
        return _from_photos_to_metrics(config, settings, target, writer)


def _from_photos_to_metrics(
    config: ConfigDict, settings: dict[str, Any], target: epath.Path, writer: Writer
) -> dict[str, Any]:
    began = time.perf_counter()
    found_photos = read(config)
    origins = sources(config)
    album = look(config, found_photos, origins[0].image_size)
    workdir.write_json(target / workdir.CONFIG, settings)

    candidates = compete(config, album, origins)
    chosen = choose(candidates)
    found = describe(config, album, candidates, chosen)
    found["seconds"] = {"all": time.perf_counter() - began}
    found |= {"config": settings, **provenance.environment().to_json()}
    with Checkpoints(target) as checkpoints:
        model, about = final(config, album, candidates[chosen])
        checkpoints.save(0, model=model, meta=about | {"config": settings})
    layer, grid = about["places"][0]
    found["final"] = {"layer": layer, "grid": grid}
    found["final"] |= {key: about[key] for key in ("method", "l2", "temperature", "sure_from")}

    shown, heat = None, None
    if config.save_photos:
        say(f"save_photos: pictures of the photos are written to {target}")
        maker = predictor.load(str(target))
        shown = album.images
        answers = maker.probabilities(shown).argmax(1)
        heat = maker.heat(shown, answers)
    selfie_report.write(target, found, shown, heat, writer)
    workdir.write_json(target / workdir.METRICS, found)
    last_word(target, found)
    return found


def read(config: ConfigDict) -> labelled.Photos:
    """Reads the photos and says what they are."""
    if config.photos == "drawn":
        found = drawn_faces.draw_faces()
    else:
        found = labelled.load_photos(config.photos, skip_unreadable=config.skip_unreadable)
    counts = np.bincount(found.labels)
    named = [f"{n} {name}" for n, name in zip(counts, found.class_names, strict=True)]
    say(f"{len(found.images)} photos: {', '.join(named)}")
    for reason in found.skipped:
        say(f"skipped: {reason}")
    return found


def look(config: ConfigDict, found: labelled.Photos, image_size: int) -> Album:
    """The photos as the model is shown them, and which of them belong together."""
    people = None
    if config.people_csv:
        people = grouping.people_from_csv(config.people_csv)
        grouping.check_people(people, found.names, config.people_csv)
    elif config.people_pattern:
        people = grouping.people_from_names(found.names, config.people_pattern)
    groups = grouping.groups(found, burst_seconds=config.burst_seconds, people=people)
    folds.check(found.labels, groups, found.class_names)
    cropper = crops.Cropper(config.crop, config.crop_margin, config.crop_fallback)
    shown = cropper.show(found.images, found.names, image_size)
    copies = grouping.near_duplicates(found.images)
    say(
        f"{groups.max() + 1} groups that are held out together; {len(copies)} pairs of copies;"
        f" shown at {image_size} px, crop {config.crop}"
    )
    return Album(found, shown.images, shown.faces, groups, tuple(copies))


def compete(config: ConfigDict, album: Album, origins: list[Source]) -> list[Candidate]:
    """Every candidate with its out-of-fold predictions; the first is the simplest of the user's."""
    labels, groups, size = album.photos.labels, album.groups, album.images.shape[1]
    repeated = folds.repeated(
        labels, groups, folds=config.folds, repeats=config.repeats, seed=config.seed
    )
    single = None
    if len(labels) <= config.leave_one_out:
        single = folds.leave_one_out(labels, groups, folds=config.folds, seed=config.seed)
    candidates = [Candidate.probe(config, album, one, repeated, single) for one in origins]
    if config.crop != "none":
        plain = crops.Cropper("none").show(album.photos.images, album.photos.names, size).images
        uncropped = dataclasses.replace(album, images=plain)
        whole = dataclasses.replace(origins[0], name=f"{origins[0].name}, without the crop")
        candidates.append(Candidate.probe(config, uncropped, whole, repeated, single))
    if config.tuned_layers:
        candidates.insert(1, Candidate.tuned(config, album, origins[0], repeated))
    for one in candidates:
        shown = one.kfold
        low, high = shown["accuracy_interval"]
        say(
            f"{one.name}: {shown['accuracy']:.1%} right out of fold ({low:.0%} to {high:.0%}),"
            f" AUC {shown['auc']:.2f}"
        )
    return candidates


def choose(candidates: list[Candidate]) -> int:
    """The probe of the user's model, unless tuning it is better beyond chance."""
    tuned = next((n for n, one in enumerate(candidates) if one.method == "finetune"), None)
    if tuned is None:
        return 0
    against = candidates[tuned].against(candidates[0])
    return tuned if against.significant and against.mean > 0 else 0


def describe(
    config: ConfigDict, album: Album, candidates: list[Candidate], chosen: int
) -> dict[str, Any]:
    """What metrics.json says, but for the final model and the machine."""
    labels, groups = album.photos.labels, album.groups
    probe = candidates[0]
    arrays = probe.points, labels, groups
    luck = None
    if config.permutations:
        say(f"dealing out the labels anew, {config.permutations} times")
        luck = evidence.permutation(
            *arrays,
            folds=config.folds,
            l2=config.l2,
            observed=probe.kfold["balanced_accuracy"],
            permutations=config.permutations,
            seed=config.seed,
        )
    curve = evidence.learning_curve(*arrays, probe.folds, l2=config.l2, seed=config.seed)
    found: dict[str, Any] = {
        "name": config.name,
        "recipe": config.recipe,
        "task": config.task,
        "photos": album.to_json(config.crop),
        "candidates": [one.to_json() for one in candidates],
        "chosen": chosen,
        "differences": [
            one.difference_json(other)
            for one, other in ((candidates[chosen], one) for one in candidates)
            if one is not other
        ],
        "permutation": luck,
        "learning_curve": curve,
        "more_would_help": evidence.more_would_help(curve),
    }
    return found | {"sentence": words.sentence(found), "notes": words.notes(found)}


def final(
    config: ConfigDict, album: Album, candidate: Candidate
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The classifier of all photos: what orbax saves, and what it says about it."""
    labels = album.photos.labels
    everything = folds.nothing_held_out(labels, album.groups, folds=config.folds, seed=config.seed)
    head, about = candidate.fit_all(config, album, everything)
    # Out of fold, as the final model has seen every photo.
    sure_from = scores.sure_from(candidate.by_repeat, labels)
    source = candidate.source
    return head, about | {
        "task": config.task,
        "backbone": {"model": source.model_name, "alpha": source.alpha},
        "class_names": list(album.photos.class_names),
        "image_size": album.images.shape[1],
        "resize": "bicubic",
        "mirror": True,
        "crop": {
            "kind": config.crop,
            "margin": config.crop_margin,
            "fallback": config.crop_fallback,
        },
        "sure_from": sure_from,
        "init_from": source.origin,
    }


def last_word(target: epath.Path, found: dict[str, Any]) -> None:
    """What the terminal shows in the end."""
    say(found["sentence"])
    for note in found["notes"]:
        say(note)
    sure = found["final"]["sure_from"]
    show_table(
        "task 2",
        {
            "model": found["candidates"][found["chosen"]]["name"],
            "features": f"{found['final']['layer']}, grid {found['final']['grid']}",
            "sure from": "never: no confidence was reliable" if sure is None else f"{sure:.0%}",
            "report": str(target / "report.html"),
            "predict": f"python -m cifsel.predict --checkpoint={target} photo.jpg",
            "time": duration(found["seconds"]["all"]),
        },
    )
