"""The photos of task 2 in groups, and what is said where too few groups are left."""

from datetime import datetime, timedelta

import numpy as np
import pytest

from cifsel.data.photos import crops
from cifsel.data.photos.crops import Cropper
from cifsel.data.photos.labelled import Photos
from cifsel.errors import UserError
from cifsel.selfie.photos import other_crops, prepare_photos
from configs import selfie as selfie_config

RESET = datetime(2000, 1, 1)
RNG = np.random.default_rng(0)


def photos(taken, per_class=5, images=None):
    count = 2 * per_class
    if images is None:
        images = [RNG.integers(0, 256, (16, 16, 3), np.uint8) for _ in range(count)]
    return Photos(
        images=tuple(images),
        labels=np.repeat(np.arange(2, dtype=np.int32), per_class),
        names=tuple(f"{'ab'[i // per_class]}/{i}" for i in range(count)),
        class_names=("a", "b"),
        taken=tuple(taken),
        skipped=(),
    )


def prepared(decoded, burst_seconds=60.0, people_pattern=None, hold_out="photos"):
    photos, _ = prepare_photos(
        decoded,
        Cropper("none"),
        32,
        burst_seconds=burst_seconds,
        people_csv=None,
        people_pattern=people_pattern,
        hold_out=hold_out,
    )
    return photos


def prepare(*arguments, **options):
    return prepared(*arguments, **options).group_count


def refusal(*arguments, **options):
    with pytest.raises(UserError) as caught:
        prepare(*arguments, **options)
    return str(caught.value)


def test_times_that_are_all_equal_are_said_and_can_be_left_out():
    decoded = photos([RESET] * 10)
    message = refusal(decoded)
    assert "the 5 photos of 'a' come from 1 occasion or person" in message
    assert "all their EXIF times are equal (2000-01-01 00:00:00)" in message
    assert "Give --config.burst_seconds=0 to leave times out" in message
    assert prepare(decoded, 0.0) == 10


def test_a_long_burst_asks_to_lower_the_time():
    decoded = photos([RESET + timedelta(seconds=10 * i) for i in range(10)])
    assert "lower --config.burst_seconds, or give 0 to leave times out" in refusal(decoded)
    assert prepare(decoded, 9.0) == 10


def test_three_photos_without_times_ask_for_photos_alone():
    message = refusal(photos([None] * 6, per_class=3))
    assert message.startswith("3 photos of 'a'; expected 4 or more")
    assert "burst" not in message


def test_copies_and_people_do_not_ask_for_times():
    image = RNG.integers(0, 256, (16, 16, 3), np.uint8)
    message = refusal(photos([None] * 10, images=[image] * 10))
    assert message.endswith(": add photos that are no copies of these")
    message = refusal(photos([None] * 10), people_pattern="^([ab])/")
    assert message.endswith(": add photos of other people")


def test_days_are_held_out_whole_and_the_question_is_known():
    taken = [RESET + timedelta(days=i % 5, hours=3 * (i // 5)) for i in range(10)]
    by_day = prepared(photos(taken), hold_out="days")
    assert by_day.groups.tolist() == [0, 1, 2, 3, 4] * 2
    assert (by_day.asked, by_day.day_counts) == ("days", [5, 5])
    # Midnight divides, and half a day does not.
    late = [RESET + timedelta(days=i, hours=23, minutes=59) for i in range(5)]
    early = [RESET + timedelta(days=i + 6, minutes=1) for i in range(5)]
    assert prepare(photos(late + early), hold_out="days") == 10
    alone = prepared(photos(taken))
    assert (alone.asked, alone.group_count) == ("photos", 10)
    people = prepared(photos(taken), people_pattern="/([0-9])")
    assert people.asked == "people"


def test_days_need_times_and_enough_days():
    message = refusal(photos([None, *[RESET] * 9]), hold_out="days")
    assert "config.hold_out is 'days', but 1 of 10 photos do not say when" in message
    assert "such as a/0" in message
    few = [RESET + timedelta(days=i % 3) for i in range(10)]
    message = refusal(photos(few), hold_out="days")
    assert "come from 3 occasions or people; expected 4 or more" in message
    assert message.endswith("add photos of other days, or give --config.hold_out=photos")


def crops_of(monkeypatch, finds, **fields):
    """The other crops of ten photos. The last ones, so many, have a face that a crop finds."""
    decoded = photos([None] * 10)
    config = selfie_config.get_config()
    config.update(fields)

    def show(self, images, names, size):
        if self.kind not in finds:
            raise UserError("not installed")
        faces = dict.fromkeys(decoded.names[-finds[self.kind] :], (0, 0, 9, 9))
        levels = {"none": 0, "face": 1, "expression": 2}
        squares = np.full((len(names), size, size, 3), levels[self.kind], np.uint8)
        return crops.Shown(squares, tuple(map(faces.get, names)))

    monkeypatch.setattr(Cropper, "show", show)
    own = np.zeros((10, 8, 8, 3), np.uint8)
    return [kind for kind, _ in other_crops(config, decoded, own, 8)]


def test_other_crops_are_compared_where_faces_are_found(monkeypatch, capsys):
    assert crops_of(monkeypatch, {"face": 10, "expression": 8}) == ["face", "expression"]
    assert crops_of(monkeypatch, {"face": 7, "expression": 8}) == ["expression"]
    assert "crop=face: a face was found in 7 of 10 photos" in capsys.readouterr().out
    assert crops_of(monkeypatch, {"face": 10}) == ["face"]
    assert "not compared with crop=expression: not installed" in capsys.readouterr().out
    everything = {"none": 0, "face": 10, "expression": 10}
    # The photos are shown as the middle is, so that the crop changes none.
    assert crops_of(monkeypatch, everything, crop="expression") == ["face"]
    assert "crop=none: it shows the same" in capsys.readouterr().out
    assert crops_of(monkeypatch, everything, compare_crops=False) == []


def test_faces_that_are_rare_are_looked_for_in_a_few_photos_alone(monkeypatch, capsys):
    assert crops_of(monkeypatch, {"face": 4, "expression": 10}) == ["expression"]
    # Every second photo is looked at, and the last four of ten have a face.
    assert "crop=face: a face was found in 2 of 5 photos" in capsys.readouterr().out
