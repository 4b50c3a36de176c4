import io
import itertools
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from cifsel.data.photos import grouping, labelled
from cifsel.errors import UserError

NOON = datetime(2026, 5, 4, 12)


def album(taken, images=None):
    """Photos called 'c/0', 'c/1', ... which are copies of each other only if given so."""
    rng = np.random.default_rng(0)
    if images is None:
        images = [rng.integers(0, 255, (40, 40, 3), np.uint8) for _ in taken]
    names = tuple(f"c/{i}" for i in range(len(taken)))
    labels = np.zeros(len(taken), np.int32)
    return labelled.Photos(tuple(images), labels, names, ("c",), tuple(taken), ())


def blobs(seed):
    """A smooth picture with the scales of a photo."""
    rng = np.random.default_rng(seed)
    sizes = (3, 6, 12, 48)
    layers = [rng.uniform(0, 255 / 2**i, (size, size, 3)) for i, size in enumerate(sizes)]
    layers = [Image.fromarray(layer.astype(np.uint8)).resize((200, 160)) for layer in layers]
    picture = ImageOps.autocontrast(Image.fromarray(np.mean(layers, 0).astype(np.uint8)))
    return picture.point(lambda value: 10 + value * 0.8)  # so that little of it is clipped


def recompressed(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def tinted(image):
    return Image.fromarray((np.asarray(image) * [1.0, 0.9, 0.75]).astype(np.uint8))


COPIES = {
    "recompressed": lambda image: recompressed(image, 25),
    "halved": lambda image: image.resize((image.width // 2, image.height // 2)),
    "doubled": lambda image: image.resize((image.width * 2, image.height * 2)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "mirrored": ImageOps.mirror,
    "tinted": tinted,
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "by messenger": lambda image: recompressed(ImageOps.mirror(image).resize((175, 150)), 30),
}
OTHERS = {
    "turned over": ImageOps.flip,
    "turned": lambda image: image.rotate(90, expand=True),
    "cropped": lambda image: ImageOps.crop(image, image.width // 8),
    "negative": ImageOps.invert,
    "another": lambda image: blobs(99),
}


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_copies_are_found(change):
    originals = [blobs(seed) for seed in range(8)]
    images = [np.asarray(image) for image in (*originals, *map(change, originals))]
    assert grouping.near_duplicates(images) == [(i, i + 8, False) for i in range(8)]


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_other_pictures_are_no_copies(change):
    image = blobs(0)
    assert grouping.near_duplicates([np.asarray(image), np.asarray(change(image))]) == []


def test_what_changed_in_one_place_is_no_copy():
    """As a mouth that smiles: everything else is equal."""
    before = np.array(blobs(0))
    after = before.copy()
    after[100:130, 80:120] = before[100:130, 80:120][::-1]
    assert grouping.near_duplicates([before, after]) == []


def test_equal_pixels_are_exact():
    first, second = np.asarray(blobs(0)), np.asarray(blobs(1))
    pairs = grouping.near_duplicates([first, second, first[:, ::-1].copy(), first.copy()])
    assert pairs == [(0, 2, False), (0, 3, True), (2, 3, False)]


def test_images_without_contrast_are_copies_only_if_equal():
    black, grey = np.zeros((20, 30, 3), np.uint8), np.full((20, 30, 3), 128, np.uint8)
    other_shape = black.reshape(30, 20, 3)
    pairs = grouping.near_duplicates([black, grey, other_shape, black.copy()])
    assert pairs == [(0, 3, True)]


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_for_a_pair(count):
    assert grouping.near_duplicates([np.asarray(blobs(0))] * count) == []


def test_real_selfies_of_different_people_are_no_copies(real_data):
    loaded = labelled.load_photos(str(real_data / "selfies"))
    assert grouping.near_duplicates(loaded.images) == []
    numbers = grouping.groups(loaded, burst_seconds=60)
    np.testing.assert_array_equal(numbers, np.arange(24))


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_copies_of_real_selfies_are_found(real_data, change):
    images = labelled.load_photos(str(real_data / "selfies")).images
    copies = [np.asarray(change(Image.fromarray(image))) for image in images]
    pairs = grouping.near_duplicates([*images, *copies])
    assert pairs == [(i, i + 24, False) for i in range(24)]


# --- groups


def numbers(taken, seconds=10.0, **options):
    result = grouping.groups(album(taken), burst_seconds=seconds, **options)
    assert result.dtype == np.int32
    return result.tolist()


def after(*seconds):
    return [NOON + timedelta(seconds=s) for s in seconds]


def test_bursts_are_chained_and_unknown_times_are_alone():
    assert numbers([*after(100, 0), None, *after(9, 19, 29.5), None]) == [0, 1, 2, 1, 1, 3, 4]
    assert numbers(after(0, 10)) == [0, 0]
    assert numbers(after(0, 10.001)) == [0, 1]
    assert numbers(after(0, 0, 1), 1e-9) == [0, 0, 1]
    assert numbers(after(0, 0, 1), 0) == [0, 1, 2]


def test_times_with_and_without_zones():
    abroad = (NOON + timedelta(hours=2)).replace(tzinfo=timezone(timedelta(hours=2)))
    assert numbers([NOON.replace(tzinfo=UTC), abroad]) == [0, 0]  # one moment
    assert numbers([NOON, abroad]) == [0, 1]
    assert numbers([NOON, NOON.replace(tzinfo=timezone(timedelta(hours=9)))]) == [0, 0]


def test_bursts_are_those_of_all_pairs():
    """Joining neighbours in time gives the groups that comparing every two photos gives."""
    rng = np.random.default_rng(0)
    zones = None, None, UTC, timezone(timedelta(hours=1)), timezone(timedelta(seconds=7))
    for _ in range(200):
        moments = after(*rng.integers(0, 90, 12).tolist())
        taken = [moment.replace(tzinfo=zones[rng.integers(len(zones))]) for moment in moments]
        pairs = [
            (i, j)
            for i, j in itertools.combinations(range(12), 2)
            if seconds_between(taken[i], taken[j]) <= 10
        ]
        expected = grouping.connected(np.array(pairs, int).reshape(-1, 2), 12)
        assert numbers(taken) == expected.tolist()


def seconds_between(first, second):
    if (first.tzinfo is None) != (second.tzinfo is None):
        first, second = first.replace(tzinfo=None), second.replace(tzinfo=None)
    return abs((first - second).total_seconds())


def test_people_and_copies_join_groups():
    people = {"c/0": "anna", "c/4": "anna", "c/1": "ben", "elsewhere": "ben"}
    assert numbers([None] * 5, people=people) == [0, 1, 2, 3, 0]
    images = [np.asarray(blobs(i)) for i in (5, 6, 7)]
    images += [images[2][:, ::-1], images[1]]
    joined = grouping.groups(album([*after(0, 500), None, *after(8), None], images),
                                 burst_seconds=10, people={"c/4": "x"})  # fmt: skip
    assert joined.tolist() == [0, 1, 0, 0, 1]  # 0 and 3 by time, 2 and 3 by copy


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_burst_seconds_out_of_range(seconds):
    with pytest.raises(UserError, match=r"burst_seconds is .*: give 0 or more"):
        numbers([None, None], seconds)


@settings(max_examples=50, deadline=None)
@given(
    seconds=st.lists(st.none() | st.integers(0, 300), min_size=1, max_size=15),
    people=st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=15, max_size=15),
)
def test_groups_are_the_classes_of_the_relation(seconds, people):
    """Compared with merging, again and again, whatever two groups have a pair between them."""
    expected = list(range(len(seconds)))

    def related(i, j):
        timed = None not in (seconds[i], seconds[j]) and abs(seconds[i] - seconds[j]) <= 10
        return timed or people[i] == people[j] != ""

    for _ in seconds:
        for i in range(len(seconds)):
            for j in range(len(seconds)):
                if related(i, j):
                    expected[i] = expected[j] = min(expected[i], expected[j])
    order = list(dict.fromkeys(expected))
    taken = [None if s is None else NOON + timedelta(seconds=s) for s in seconds]
    names = {f"c/{i}": name for i, name in enumerate(people) if name}
    assert numbers(taken, people=names) == [order.index(name) for name in expected]


# --- who is on a photo


def test_people_from_csv(tmp_path):
    path = tmp_path / "people.csv"
    path.write_bytes('\ufeffphoto,person\r\n"a/1, 2.jpg", Anna \r\n\r\nb/cafe\u0301.jpg,Zoë\r\n'
                     'b/caf\u00e9.jpg,Zoë\r\n'.encode())  # fmt: skip
    people = grouping.people_from_csv(path)
    assert people == {"a/1, 2.jpg": "Anna", "b/caf\u00e9.jpg": "Zoë"}
    grouping.check_people(people, ["a/1, 2.jpg", "b/caf\u00e9.jpg", "c.jpg"], path)
    with pytest.raises(UserError, match=r"people.csv: no photo 'a/1, 2.jpg' \(1 of 2 are unknown"):
        grouping.check_people(people, ["b/caf\u00e9.jpg"], path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "first line is ''"),
        (b"photo;person\n", "first line is 'photo;person'; expected 'photo,person'"),
        (b"photo,person,age\n", "expected 'photo,person'"),
        (b"photo,person\na.jpg\n", "line 2 is 'a.jpg'"),
        (b"photo,person\n\na.jpg, \n", "line 3 is 'a.jpg, '"),
        (b"photo,person\na.jpg,x,y\n", "line 2"),
        (b"photo,person\na.jpg,x\na.jpg,y\n", "line 3 says that 'a.jpg' shows 'y', .* 'x'"),
        (b'photo,person\n"a.jpg,x\n', "cannot be read as CSV in UTF-8"),
        (b"photo,person\na.jpg,Zo\xeb\n", "cannot be read as CSV in UTF-8"),
        (None, "cannot be read as CSV in UTF-8"),
    ],
)
def test_odd_csv_files(tmp_path, content, expected):
    path = tmp_path / "people.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"people.csv: .*{expected}") as caught:
        grouping.people_from_csv(path)
    assert "\n" not in str(caught.value)


def test_people_from_names():
    names = ["happy/anna_1.jpg", "sad/anna_2.jpg", "sad/ben_1.jpg", "sad/7.jpg"]
    assert grouping.people_from_names(names, "/([a-z]+)_") == {
        "happy/anna_1.jpg": "anna",
        "sad/anna_2.jpg": "anna",
        "sad/ben_1.jpg": "ben",
    }


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("(", "no regular expression"),
        ("[a-z]+", "has 0 groups; expected one"),
        ("(a)(b)", "has 2 groups; expected one"),
        ("(anna)", "matches none of 1 photo;"),
        ("()", "matches none of 1 photo;"),
    ],
)
def test_odd_patterns(pattern, expected):
    with pytest.raises(UserError, match=expected):
        grouping.people_from_names(["sad/7.jpg"], pattern)
