import sys
import types

import numpy as np
import pytest
from PIL import Image

from cifsel.data.photos import crops, labelled
from cifsel.errors import UserError

NOISE = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)


def grid(height, width):
    """An image whose red is the column and green the row, so that a crop says where it is from."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, rows, np.full_like(rows, 128)], -1).astype(np.uint8)


# --- the middle


@pytest.mark.parametrize(("height", "width"), [(40, 40), (40, 101), (100, 41), (9, 180)])
def test_centre_is_the_largest_square_in_the_middle(height, width):
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    image = grid(height, width)
    np.testing.assert_array_equal(
        crops.centre(image, side), image[top : top + side, left : left + side]
    )


@pytest.mark.parametrize("size", [20, 160, 320])
def test_centre_keeps_things_in_place(size):
    """Of a slope, each pixel of the result has the value at its own middle."""
    image = grid(160, 240)
    expected = (np.arange(size) + 0.5) * 160 / size - 0.5
    inner = slice(size // 10, -size // 10)
    result = crops.centre(image, size).astype(float)
    assert result.shape == (size, size, 3)
    np.testing.assert_allclose(result[size // 2, inner, 0], expected[inner] + 40, atol=0.6)
    np.testing.assert_allclose(result[inner, size // 2, 1], expected[inner], atol=0.6)


def test_shrinking_averages():
    """A fine chequerboard turns grey; picking pixels would leave black or white."""
    board = np.indices((400, 400)).sum(0)[..., None] % 2 * np.full(3, 255)
    shrunk = crops.centre(board.astype(np.uint8), 40)
    assert abs(shrunk[5:-5, 5:-5].astype(float) - 127.5).max() < 3


def test_growing_adds_no_steps():
    step = np.zeros((8, 8, 3), np.uint8)
    step[:, 4:] = 255
    row = crops.centre(step, 80)[40, :, 0].astype(int)
    assert (np.diff(row[35:45]) > 0).all()


# --- without a detector


def test_none_is_the_middle_of_each(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)  # which it does without
    shown = crops.Cropper("none").show([NOISE, grid(50, 30)], ["a", "b"], 24)
    assert shown.faces == (None, None)
    assert shown.images.shape == (2, 24, 24, 3)
    assert shown.images.dtype == np.uint8
    np.testing.assert_array_equal(shown.images[0], crops.centre(NOISE, 24))
    np.testing.assert_array_equal(shown.images[1], crops.centre(grid(50, 30), 24))


def test_the_middle_can_be_smaller():
    shown = crops.Cropper("none", middle=0.5).show([grid(50, 30)], ["a"], 24)
    np.testing.assert_array_equal(shown.images[0], crops.centre(grid(50, 30)[17:32, 7:22], 24))


def test_a_face_that_is_not_found_leaves_that_middle(monkeypatch):
    monkeypatch.setattr(crops, "_detector", lambda: lambda grey, least: [])
    shown = crops.Cropper("face", fallback=True, middle=0.5).show([grid(30, 50)], ["a"], 24)
    assert shown.faces == (None,)
    np.testing.assert_array_equal(shown.images[0], crops.centre(grid(30, 50)[7:22, 17:32], 24))


def test_nothing_to_show():
    assert crops.Cropper("none").show([], [], 24).images.shape == (0, 24, 24, 3)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"kind": "eyes"}, "crop is 'eyes'; expected one of none, face, expression"),
        ({"kind": "face", "margin": 0.0}, "crop_margin is 0.0: give 0.5 to 4"),
        ({"kind": "face", "margin": float("nan")}, "crop_margin is nan"),
        ({"kind": "none", "margin": 100.0}, "crop_margin is 100.0"),
        ({"kind": "none", "middle": 0.0}, "crop_middle is 0.0: give 0.25 to 1 times"),
        ({"kind": "none", "middle": 1.1}, "crop_middle is 1.1"),
    ],
)
def test_odd_settings(given, expected):
    with pytest.raises(UserError, match=expected):
        crops.Cropper(**given)


def opencv_5():
    return types.ModuleType("cv2")


def opencv_without_cascades():
    module = opencv_5()
    module.data = types.SimpleNamespace(haarcascades="/nowhere")
    module.CascadeClassifier = lambda path: types.SimpleNamespace(empty=lambda: True)
    return module


@pytest.mark.parametrize("make", [lambda: None, opencv_5, opencv_without_cascades])
def test_without_opencv_4_the_extra_is_named(monkeypatch, make):
    monkeypatch.setitem(sys.modules, "cv2", make())
    with pytest.raises(UserError) as caught:
        crops.Cropper("face", fallback=True).show([NOISE], ["a"], 24)
    assert str(caught.value) == "crop='face' needs OpenCV 4: pip install 'cifsel[face]'"


# --- with a detector that is told what to find


@pytest.fixture
def finds(monkeypatch):
    """Sets what the detector finds: boxes (left, top, side, sure) in pixels of the photo.

    The photos must have a shorter side of as many pixels as is looked at.
    """

    def set_found(*boxes):
        def detect(grey, least):
            return [
                (x + crops._BORDER, y + crops._BORDER, side, sure) for x, y, side, sure in boxes
            ]

        monkeypatch.setattr(crops, "_detector", lambda: detect)

    return set_found


def cropped(image, margin=1.0, size=None, fallback=False):
    """Left, top and side of the crop of a `grid`, and the face."""
    shown = crops.Cropper("face", margin, fallback).show([image], ["a"], size or 64)
    return shown.images[0], shown.faces[0]


@pytest.mark.parametrize(
    ("box", "margin", "expected"),  # expected: left, top and side of the crop
    [
        ((100, 60, 80), 1.0, (100, 60, 80)),
        ((100, 60, 80), 1.5, (80, 40, 120)),
        ((100, 60, 80), 0.5, (120, 80, 40)),
        ((10, 200, 100), 1.4, (0, 180, 140)),  # moved to the right
        ((270, 230, 90), 2.0, (220, 140, 180)),  # moved to the left and up
        ((60, 10, 300), 1.2, (50, 0, 320)),  # no larger than the photo's shorter side
        ((-40, 30, 100), 1.0, (0, 30, 100)),  # a face that the photo cuts off
    ],
)
def test_the_crop_is_a_square_within_the_photo(finds, box, margin, expected):
    finds((*box, 1.0))
    image = NOISE.repeat(6, 0).repeat(6, 1)[:320, :400]
    left, top, side = expected
    square = image[top : top + side, left : left + side]
    crop, face = cropped(image, margin, size=side)
    if box[0] < 0:  # is reported as far as it is in the photo
        assert face == (0, 30, 60, 100)
    else:
        assert face == (*box, box[2])
    np.testing.assert_array_equal(crop, square)


@pytest.mark.parametrize("scale", [0.25, 2.4])
def test_boxes_are_in_the_pixels_of_the_photo(finds, scale):
    finds((80, 40, 160, 1.0))
    image = np.zeros((round(320 * scale), round(480 * scale), 3), np.uint8)
    _, face = cropped(image)
    assert face == tuple(round(value * scale) for value in (80, 40, 160, 160))


@pytest.mark.parametrize(
    ("boxes", "chosen"),
    [
        ([(10, 10, 100, 9.0), (150, 20, 160, 1.0)], 1),  # the larger, not the surer
        ([(10, 10, 150, 9.0), (150, 20, 160, 1.0)], 0),  # the surer of two that are as large
        ([(10, 10, 150, 3.0), (150, 20, 150, 3.0)], 1),
    ],
)
def test_one_of_several_faces(finds, boxes, chosen):
    for order in (boxes, boxes[::-1]):
        finds(*order)
        _, face = cropped(grid(320, 400))
        assert face[:3] == boxes[chosen][:3]


def test_photos_without_faces_are_named(finds):
    finds()
    names = [f"happy/{i}.jpg" for i in range(5)]
    with pytest.raises(UserError) as caught:
        crops.Cropper("face").show([NOISE] * 5, names, 24)
    message = str(caught.value)
    assert "no face found in 5 of 5 photos (happy/0.jpg, happy/1.jpg, happy/2.jpg and 2 more)" in (
        message
    )
    assert "--config.crop_fallback=True" in message
    assert "\n" not in message
    with pytest.raises(UserError, match=r"1 of 1 photo \(happy/0.jpg\)"):
        crops.Cropper("face").show([NOISE], names[:1], 24)


def test_fallback_is_the_middle(finds):
    finds()
    crop, face = cropped(NOISE, fallback=True)
    assert face is None
    np.testing.assert_array_equal(crop, crops.centre(NOISE, 64))


# --- with OpenCV's detector


@pytest.fixture(scope="module")
def selfies(real_data):
    pytest.importorskip("cv2", reason="no OpenCV")
    return labelled.load_photos(str(real_data / "selfies"))


def overlap(first, second):
    """Area of the intersection over that of the union."""
    (x, y, w, h), (u, v, a, b) = first, second
    common = max(0, min(x + w, u + a) - max(x, u)) * max(0, min(y + h, v + b) - max(y, v))
    return common / (w * h + a * b - common)


def in_a_scene(image, left, top, side, *, turn=0, light=1.0):
    """A photo pasted into a larger one of nothing in particular."""
    rows, columns = np.mgrid[:480, :640]
    waves = 110 + 60 * np.sin(rows / 37) * np.cos(columns / 53 + rows / 90)
    scene = Image.fromarray(np.stack([waves, waves * 0.9, 255 - waves], -1).astype(np.uint8))
    face = Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS).rotate(turn)
    rows, columns = (np.mgrid[:side, :side] + 0.5) / side * 2 - 1
    disc = Image.fromarray(((np.hypot(rows, columns) < 0.98) * 255).astype(np.uint8))
    scene.paste(face, (left, top), disc)
    return (np.asarray(scene) * light).astype(np.uint8)


@pytest.mark.slow
def test_every_real_face_is_found_in_the_middle(selfies):
    """The photos are of one face each, that fills most of them."""
    cropper = crops.Cropper("face", margin=0.8)
    shown = cropper.show(selfies.images, selfies.names, 64)
    assert None not in shown.faces
    for image, (left, top, width, height) in zip(selfies.images, shown.faces, strict=True):
        assert overlap((left, top, width, height), (15, 15, 320, 320)) > 0.8
        assert min(left, top) >= 0
        assert left + width <= image.shape[1]
        assert top + height <= image.shape[0]
    # The crop shows that face: the same as cutting it out by hand.
    left, top, width, height = shown.faces[0]
    side = round(0.8 * max(width, height))
    x, y = left + (width - side) // 2, top + (height - side) // 2
    by_hand = crops.centre(selfies.images[0][y : y + side, x : x + side], 64)
    assert abs(by_hand.astype(float) - shown.images[0]).mean() < 4
    again = cropper.show(selfies.images[:3], selfies.names[:3], 64)
    np.testing.assert_array_equal(again.images, shown.images[:3])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("side", "options", "least"),
    [
        (120, {}, 12),
        (300, {}, 12),
        (300, {"turn": 18}, 11),
        (300, {"turn": -18}, 11),
        (300, {"light": 0.1}, 11),
    ],
)
def test_faces_in_larger_photos(selfies, side, options, least):
    """Small, tilted and dark ones; and the crop shows the face, not the scene."""
    left, top = 330, 20  # far from the middle, that photos are turned about
    images = [in_a_scene(image, left, top, side, **options) for image in selfies.images[::2]]
    shown = crops.Cropper("face", fallback=True).show(images, selfies.names[::2], 32)
    there = (left, top, side, side)
    assert sum(face is not None and overlap(face, there) > 0.6 for face in shown.faces) >= least


@pytest.mark.slow
def test_faces_that_fill_the_photo(selfies):
    images = [image[40:-40, 40:-40] for image in selfies.images[::2]]
    shown = crops.Cropper("face").show(images, selfies.names[::2], 32)
    assert all(overlap(face, (0, 0, 270, 270)) > 0.8 for face in shown.faces)


@pytest.mark.parametrize("size", [(12, 12), (20, 300), (768, 40)])
def test_no_face_where_there_is_none(size):
    pytest.importorskip("cv2", reason="no OpenCV")
    plain = np.full((*size, 3), 90, np.uint8)
    shown = crops.Cropper("face", fallback=True).show([plain], ["a"], 16)
    assert shown.faces == (None,)
