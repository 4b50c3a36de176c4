"""The photos of task 2 in groups, and what is said where too few groups are left."""

from datetime import datetime, timedelta

import numpy as np
import pytest

from cifsel.data.photos.crops import Cropper
from cifsel.data.photos.labelled import Photos
from cifsel.errors import UserError
from cifsel.selfie.photos import prepare_photos

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


def prepare(decoded, burst_seconds=60.0, people_pattern=None):
    prepared, _ = prepare_photos(
        decoded,
        Cropper("none"),
        32,
        burst_seconds=burst_seconds,
        people_csv=None,
        people_pattern=people_pattern,
    )
    return prepared.group_count


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
