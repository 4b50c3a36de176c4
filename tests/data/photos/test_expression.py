"""The expression crop: where the points of a face end, and what light does to it."""

import numpy as np
import pytest
from PIL import Image

from cifsel.data.photos import expression

# A face of 112 pixels that is held upright: eyes, nose, corners of the mouth.
UPRIGHT = np.array([(38.3, 51.7), (73.5, 51.5), (56.0, 71.7), (41.5, 92.4), (70.7, 92.2)])


def turned(points, degrees, scale, shift):
    angle = np.radians(degrees)
    matrix = scale * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    return points @ matrix.T + shift


def waves(points):
    """A smooth pattern on the face, at places of the face."""
    return 128 + 60 * np.sin(points[..., 0] / 6) + 40 * np.cos(points[..., 1] / 7)


def photo(degrees, scale, shift, size=400):
    """A photo of the pattern on a face that is turned, scaled and moved, and the face's points."""
    rows, columns = np.mgrid[:size, :size]
    places = np.stack([columns, rows], -1) + 0.5
    back = turned(places - shift, -degrees, 1 / scale, (0, 0))
    grey = np.clip(np.round(waves(back)), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, 2), turned(UPRIGHT, degrees, scale, shift)


@pytest.mark.parametrize(
    ("degrees", "scale", "shift"), [(0, 2.0, (40, 60)), (25, 2.4, (140, 30)), (-50, 1.2, (60, 200))]
)
def test_similarity_is_found(degrees, scale, shift):
    matrix, moved = expression.similarity(UPRIGHT, turned(UPRIGHT, degrees, scale, shift))
    np.testing.assert_allclose(UPRIGHT @ matrix.T + moved, turned(UPRIGHT, degrees, scale, shift))


def test_similarity_is_the_nearest():
    """Of noisy points: no small change of turn, scale or shift comes nearer."""
    others = turned(UPRIGHT, 10, 1.5, (3, 4)) + np.random.default_rng(0).normal(0, 3, (5, 2))
    matrix, shift = expression.similarity(UPRIGHT, others)

    def distance(turn, scale, x, y):
        again = turned(UPRIGHT @ matrix.T + shift, turn, scale, (x, y))
        return ((again - others) ** 2).sum()

    least = distance(0, 1, 0, 0)
    for change in (
        (0.5, 1, 0, 0),
        (-0.5, 1, 0, 0),
        (0, 1.01, 0, 0),
        (0, 0.99, 0, 0),
        (0, 1, 0.5, 0),
    ):
        assert distance(*change) > least


@pytest.mark.parametrize("size", [64, 224])
def test_a_turned_and_larger_face_looks_the_same(size):
    expected = expression.lower_face(*photo(0, 2.0, (60, 60)), size).astype(int)
    assert expected.shape == (size, size, 3)
    assert (expected == expected[..., :1]).all()
    inner = slice(size // 16, -size // 16)
    for degrees, scale, shift in (
        (30, 2.0, (180, 20)),
        (-20, 2.6, (20, 110)),
        (10, 1.0, (100, 99)),
    ):
        shown = expression.lower_face(*photo(degrees, scale, shift), size).astype(int)
        assert abs(shown - expected)[inner, inner].mean() < 2


def test_light_and_contrast_of_the_photo_make_no_difference():
    image, points = photo(0, 2.0, (60, 60))
    dark = np.round(20 + 0.4 * image).astype(np.uint8)
    first, second = (expression.lower_face(own, points, 96).astype(int) for own in (image, dark))
    assert abs(first - second).max() <= 4
    assert first.mean() == pytest.approx(128, abs=4)
    assert first.std() == pytest.approx(56, abs=4)


def test_shrinking_averages():
    """Of a chequerboard of single pixels nothing is left."""
    board = (np.indices((2000, 2000)).sum(0) % 2 * 255).astype(np.uint8)
    image, points = np.repeat(board[..., None], 3, 2), UPRIGHT * 16 + 100
    assert expression.lower_face(image, points, 32)[4:-4, 4:-4].std() < 2


def test_a_flat_photo_stays_flat_and_beyond_the_photo_its_edges_continue():
    flat = np.full((50, 60, 3), 77, np.uint8)
    assert set(np.unique(expression.lower_face(flat, UPRIGHT, 32))) == {128}
    half = np.zeros((50, 60, 3), np.uint8)
    half[:, 30:] = 200
    shown = expression.lower_face(half, UPRIGHT - (26, 60), 32)
    np.testing.assert_array_equal(shown[-1], shown[16])
    assert Image.fromarray(shown).size == (32, 32)
