"""Reads the photos, groups those that belong together, and cuts them to what a model is shown."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict

from cifsel.data import drawn_faces
from cifsel.data.photos import grouping, labelled
from cifsel.data.photos.crops import CROPS, NONE, Cropper, Shown
from cifsel.errors import UserError
from cifsel.runtime.terminal import count, say
from cifsel.selfie.protocol import folds
from cifsel.selfie.protocol.photo_set import DAYS, PEOPLE, PHOTOS, PhotoSet

# Crops are compared for up to so many photos, if a face is found in such a share of them.
MOST_COMPARED, LEAST_FACES = 200, 0.8
# Looking for a face takes longest where there is none. So a few photos are looked at first, and the
# others only if a face is found in such a share of these.
FIRST_FACES, LEAST_FIRST = 5, 0.5
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
    hold_out: str = PHOTOS,
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
      hold_out: PHOTOS, or DAYS to keep all photos of a day together.

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
    if hold_out == DAYS:
        _check_times(decoded)
    groups = grouping.groups(
        decoded, burst_seconds=burst_seconds, people=people, by_day=hold_out == DAYS
    )
    folds.check(
        decoded.labels,
        groups,
        decoded.class_names,
        lambda label: (
            "add photos of other days, or give --config.hold_out=photos"
            if hold_out == DAYS
            else _advice(decoded, label, people)
        ),
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
        asked=PEOPLE if people else hold_out,
    )
    say(
        f"{count(photos.group_count, 'group')}, each held out as a whole;"
        f" {count(len(photos.copies), 'pair')} of copies;"
        f" shown at {image_size} px, crop {cropper.kind}"
    )
    return photos, shown.images


def cropper_of(config: ConfigDict) -> Cropper:
    """Returns the crop of a config."""
    return Cropper(config.crop, config.crop_margin, config.crop_fallback, middle=config.crop_middle)


def other_crops(
    config: ConfigDict, decoded: labelled.Photos, images: Images, image_size: int
) -> Iterator[tuple[str, Images]]:
    """Yields the other crops of the photos, by name, and says why one is left out.

    The middle of a photo stands in for a face that is not found.

    Args:
      config: of the run.
      decoded: the photos.
      images: the photos as they are shown with the crop of the run.
      image_size: side in pixels at which they are shown.
    """
    if not config.compare_crops or len(decoded.images) > MOST_COMPARED:
        return
    step = -(-len(decoded.images) // FIRST_FACES)
    for kind in CROPS:
        if kind == config.crop:
            continue
        cropper = dataclasses.replace(cropper_of(config), kind=kind, fallback=True)
        try:
            shown = cropper.show(decoded.images[::step], decoded.names[::step], image_size)
            if kind == NONE or _face_count(shown) >= LEAST_FIRST * len(shown.faces):
                shown = cropper.show(decoded.images, decoded.names, image_size)
        except UserError as error:
            say(f"not compared with crop={kind}: {error}")
            continue
        faces = _face_count(shown)
        if kind != NONE and faces < LEAST_FACES * len(shown.faces):
            photos = count(len(shown.faces), "photo")
            say(f"not compared with crop={kind}: a face was found in {faces} of {photos}")
        elif np.array_equal(shown.images, images):
            say(f"not compared with crop={kind}: it shows the same")
        else:
            yield kind, shown.images


def _face_count(shown: Shown) -> int:
    return sum(face is not None for face in shown.faces)


def _check_times(decoded: labelled.Photos) -> None:
    """Raises UserError unless all photos say when they were taken."""
    untimed = [name for name, time in zip(decoded.names, decoded.taken, strict=True) if not time]
    if untimed:
        raise UserError(
            f"config.hold_out is 'days', but {len(untimed)} of {count(len(decoded.names), 'photo')}"
            f" do not say when they were taken, such as {untimed[0]}: leave them out, or give"
            " --config.hold_out=photos"
        )


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
