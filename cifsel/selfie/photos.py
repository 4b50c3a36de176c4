"""Reads the photos, groups those that belong together, and cuts them to what a model is shown."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8

from cifsel.data import drawn_faces
from cifsel.data.photos import grouping, labelled
from cifsel.data.photos.crops import Cropper
from cifsel.runtime.terminal import count, say
from cifsel.selfie.protocol import folds
from cifsel.selfie.protocol.photo_set import PhotoSet

# Photos as a model is shown them.
Images = UInt8[np.ndarray, "n s s 3"]


def read_photos(source: str, *, skip_unreadable: bool) -> labelled.Photos:
    """Reads the photos, and says how many there are of each class.

    Args:
      source: as `labelled.load_photos` takes it, or 'drawn' for faces that this program draws.
      skip_unreadable: leave out files that cannot be read as photos.

    Raises:
      UserError: the photos cannot be read.
    """
    if source == "drawn":
        decoded = drawn_faces.draw_faces()
    else:
        decoded = labelled.load_photos(source, skip_unreadable=skip_unreadable)
    counts = np.bincount(decoded.labels)
    named = [f"{n} {name}" for n, name in zip(counts, decoded.class_names, strict=True)]
    say(f"{count(len(decoded.images), 'photo')}: {', '.join(named)}")
    for reason in decoded.skipped:
        say(f"skipped: {reason}")
    return decoded


def prepare_photos(
    decoded: labelled.Photos,
    cropper: Cropper,
    image_size: int,
    *,
    burst_seconds: float,
    people_csv: str | None,
    people_pattern: str | None,
) -> tuple[PhotoSet, Images]:
    """Groups the photos, and cuts them to what a model is shown.

    Args:
      decoded: the photos.
      cropper: cuts them.
      image_size: S, side in pixels at which they are shown.
      burst_seconds: photos taken so close in time are one group. 0 leaves times out.
      people_csv: a file that names the person on each photo. None without one.
      people_pattern: a regular expression that finds the person in a photo's name. None without
        one.

    Raises:
      UserError: there are too few groups of a class, people are not named as they must be, or no
        face was found.
    """
    people = None
    if people_csv:
        people = grouping.people_from_csv(people_csv)
        grouping.check_people(people, decoded.names, people_csv)
    elif people_pattern:
        people = grouping.people_from_names(decoded.names, people_pattern)
    groups = grouping.groups(decoded, burst_seconds=burst_seconds, people=people)
    folds.check(
        decoded.labels, groups, decoded.class_names, lambda label: _advice(decoded, label, people)
    )
    shown = cropper.show(decoded.images, decoded.names, image_size)
    photos = PhotoSet(
        class_names=decoded.class_names,
        names=decoded.names,
        labels=decoded.labels,
        groups=groups,
        taken=decoded.taken,
        skipped=decoded.skipped,
        copies=tuple(grouping.near_duplicates(decoded.images)),
        crop=cropper.kind,
        faces=shown.faces,
    )
    say(
        f"{count(photos.group_count, 'group')}, each held out as a whole;"
        f" {count(len(photos.copies), 'pair')} of copies;"
        f" shown at {image_size} px, crop {cropper.kind}"
    )
    return photos, shown.images


def _advice(decoded: labelled.Photos, label: int, people: Mapping[str, str] | None) -> str:
    """Says what to do about a class whose photos are in too few groups."""

    def is_enough(people: Mapping[str, str] | None) -> bool:
        untimed = grouping.groups(decoded, burst_seconds=0, people=people)
        return len(np.unique(untimed[decoded.labels == label])) >= folds.LEAST_GROUPS

    if is_enough(people):
        of_class = zip(decoded.taken, decoded.labels == label, strict=True)
        times = {time for time, is_of_class in of_class if is_of_class and time}
        if len(times) == 1:
            return (
                f"all their EXIF times are equal ({times.pop()}), as of a camera whose clock is not"
                " set. Give --config.burst_seconds=0 to leave times out"
            )
        return "lower --config.burst_seconds, or give 0 to leave times out"
    if people and is_enough(None):
        return "add photos of other people"
    return "add photos that are no copies of these"
