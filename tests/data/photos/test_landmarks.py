"""Faces and their points, on a photo that scikit-image ships."""

import importlib.util

import numpy as np
import pytest
from PIL import Image, ImageOps

from cifsel.data.photos import crops, landmarks, mtcnn
from cifsel.errors import UserError

# Of the photo, by eye: the eye on the left, the eye on the right, nose, corners of the mouth.
POINTS = np.array([(204, 101), (247, 103), (224, 127), (203, 140), (244, 142)])


@pytest.fixture(scope="module")
def astronaut():
    if importlib.util.find_spec("mtcnn") is None:
        pytest.skip("mtcnn is not installed")
    data = pytest.importorskip("skimage.data", reason="scikit-image ships the photo")
    return data.astronaut()


def test_points_are_where_they_are(astronaut):
    face = landmarks.find_face(astronaut)
    assert abs(face.points - POINTS).max() < 4
    left, top, width, height = face.box
    assert (face.points > (left, top)).all()
    assert (face.points < (left + width, top + height)).all()
    assert 0.9 < face.sure <= 1


def test_points_follow_the_photo(astronaut):
    expected = landmarks.find_face(astronaut).points
    picture = Image.fromarray(astronaut)
    larger = landmarks.find_face(np.asarray(picture.resize((1500, 1500))))
    assert abs(larger.points * 512 / 1500 - expected).max() < 5
    # The eye on the left of the mirror image is the other one.
    mirrored = landmarks.find_face(np.asarray(ImageOps.mirror(picture)))
    back = mirrored.points[[1, 0, 2, 4, 3]]
    assert abs(np.stack([512 - back[:, 0], back[:, 1]], 1) - expected).max() < 5
    # So far that it is only found in a photo that is turned back.
    askew = landmarks.find_face(np.asarray(picture.rotate(50)))
    cos, sin = np.cos(np.radians(50)), np.sin(np.radians(50))
    moved = (expected - 256) @ np.array([(cos, -sin), (sin, cos)]) + 256
    assert abs(askew.points - moved).max() < 12
    wide = np.pad(astronaut, ((0, 0), (300, 100), (0, 0)), "edge")
    assert abs(landmarks.find_face(wide).points - (300, 0) - expected).max() < 5


@pytest.mark.parametrize("change", ["turned", "dark", "grey", "close"])
def test_face_is_found(astronaut, change):
    picture = Image.fromarray(astronaut)
    changed = {
        "turned": picture.rotate(25),
        "dark": picture.point(lambda level: level // 12),
        "grey": picture.convert("L").convert("RGB"),
        "close": picture.crop((170, 60, 280, 190)),
    }[change]
    assert landmarks.find_face(np.asarray(changed)) is not None


@pytest.mark.parametrize("size", [(300, 300), (1, 1), (5, 400), (400, 5)])
def test_no_face(astronaut, size):
    noise = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    assert landmarks.find_face(noise) is None
    assert landmarks.find_face(np.full((*size, 3), 90, np.uint8)) is None


def test_expression_crop_is_grey_aligned_and_names_photos_without_a_face(astronaut):
    cropper = crops.Cropper("expression")
    shown = cropper.show([astronaut, astronaut[:, ::-1]], ["a", "b"], 64)
    assert shown.images.shape == (2, 64, 64, 3)
    assert (shown.images == shown.images[..., :1]).all()
    # Where the teeth are, between the corners of the mouth.
    assert shown.images[0, 39:42, 24:38].mean() > shown.images[0].mean() + 20
    left, _, width, _ = shown.faces[0]
    assert (left < POINTS[:, 0]).all() and (POINTS[:, 0] < left + width).all()
    plain = np.full((80, 90, 3), 200, np.uint8)
    with pytest.raises(UserError, match=r"no face found in 1 of 2 photos \(b\)"):
        cropper.show([astronaut, plain], ["a", "b"], 64)
    fallen = crops.Cropper("expression", fallback=True).show([plain], ["b"], 64)
    np.testing.assert_array_equal(fallen.images[0], crops.centre(plain, 64))
    assert fallen.faces == (None,)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(mtcnn.importlib.util, "find_spec", lambda name: None)
    mtcnn.load_networks.cache_clear()
    with pytest.raises(UserError) as caught:
        crops.Cropper("expression", fallback=True).show([np.zeros((9, 9, 3), np.uint8)], ["a"], 24)
    expected = "crop='expression' needs mtcnn: pip install 'cifsel[expression]'"
    assert str(caught.value) == expected
    mtcnn.load_networks.cache_clear()


@pytest.mark.slow
def test_finds_what_the_package_finds_with_tensorflow(astronaut):
    package = pytest.importorskip("mtcnn")
    try:
        found = package.MTCNN().detect_faces(astronaut, min_face_size=40)
    except ValueError as error:
        # The package reduces a photo until less than a pixel is left of it.
        assert "empty output" in str(error)
        pytest.skip("this version of Keras refuses the smallest pictures of mtcnn")
    best = max(found, key=lambda face: face["box"][2])
    names = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    expected = np.array([best["keypoints"][name] for name in names])
    assert abs(landmarks.find_face(astronaut).points - expected).max() < 4
