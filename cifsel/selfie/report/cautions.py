"""The warnings of task 2's report."""

from cifsel.data.photos.crops import NONE
from cifsel.reports.style import display_name
from cifsel.runtime.terminal import count
from cifsel.selfie.outcome import Outcome
from cifsel.selfie.protocol import scores
from cifsel.selfie.protocol.candidates import CandidateScores, Difference
from cifsel.selfie.protocol.photo_set import PhotoSet
from cifsel.selfie.protocol.pretrained import IMAGENET


def warnings(outcome: Outcome) -> list[str]:
    """Warns of copies, of weights or crops that did better, of leaning, and of missing faces."""
    photos = outcome.photos
    return [
        *_about_copies(photos),
        *_about_imagenet(outcome),
        *_about_crops(outcome),
        *_about_leaning(outcome),
        *_about_faces(photos),
    ]


def _about_copies(photos: PhotoSet) -> list[str]:
    warnings = []
    for i, j, exact in photos.copies:
        are = f"{photos.names[i]} and {photos.names[j]} are"
        kind = "the same picture" if exact else "near copies"
        if photos.labels[i] != photos.labels[j]:
            first, second = (display_name(photos.class_names[photos.labels[n]]) for n in (i, j))
            warnings.append(
                f"{are} {kind}, in two classes ({first} and {second}): one must be wrong"
            )
        else:
            warnings.append(f"{are} {kind}: they were held out together")
    return warnings


def _about_imagenet(outcome: Outcome) -> list[str]:
    chosen = outcome.chosen_candidate
    if chosen.name.startswith(IMAGENET):  # They are in use already.
        return []
    by_name = {candidate.name: candidate for candidate in outcome.candidates}
    return [
        _imagenet_did_better(difference, by_name[difference.against])
        for difference in outcome.differences
        if difference.mean < 0 and difference.against.startswith(IMAGENET)
    ]


def _imagenet_did_better(difference: Difference, imagenet: CandidateScores) -> str:
    sure = "clearly" if difference.p < 0.05 else "perhaps by chance"
    # There is no field for the width of a network.
    how = (
        f": to use them, --config.init_from=imagenet --config.model={imagenet.model}"
        if imagenet.alpha == 1.0
        else ""
    )
    return (
        "plain ImageNet weights did better on these photos than those of task 1, by"
        f" {-100 * difference.mean:.0f} points, {sure} (p = {difference.p:.2g}){how}"
    )


def _about_crops(outcome: Outcome) -> list[str]:
    """Names the crop that did best on these photos, if it is not the chosen one."""
    crops = {candidate.name: candidate.crop for candidate in outcome.candidates}
    better = [
        difference
        for difference in outcome.differences
        if crops[difference.against] != outcome.chosen_candidate.crop and difference.mean < 0
    ]
    if not better:
        return []
    best = min(better, key=lambda difference: difference.mean)
    sure = "clearly" if best.p < 0.05 else "perhaps by chance"
    crop = crops[best.against]
    return [
        f"crop={crop} did better on these photos by {-100 * best.mean:.0f} points, {sure}"
        f" (p = {best.p:.2g}): to use it, --config.crop={crop}"
    ]


def _about_leaning(outcome: Outcome) -> list[str]:
    """Says to which class the wrong answers lean, if that is more than chance."""
    photos = outcome.photos
    leaning = scores.leaning(outcome.chosen_candidate.photo_by_photo.confusion)
    if leaning is None:
        return []
    name = display_name(photos.class_names[leaning.label])
    return [
        f"its answers lean to {name}: {leaning.into} photos of other classes were taken for it, and"
        f" {leaning.out_of} the other way round (p = {leaning.p:.2g}). Trust it less where"
        f" it says {name}"
    ]


def _about_faces(photos: PhotoSet) -> list[str]:
    missing = sum(face is None for face in photos.faces)
    if photos.crop == NONE or not missing:
        return []
    return [f"no face was found in {count(missing, 'photo')}, of which the middle was used"]
