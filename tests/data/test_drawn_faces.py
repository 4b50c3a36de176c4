import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cifsel.data import drawn_faces
from cifsel.data.photos import grouping, labelled
from cifsel.errors import UserError


@pytest.fixture(scope="module")
def drawn():
    return drawn_faces.draw_faces(10, seed=1)


@pytest.fixture(scope="module")
def many():
    return drawn_faces.draw_faces(40, seed=1)


def test_has_the_structure_of_photos(drawn):
    assert drawn.class_names == ("happy", "sad")
    assert drawn.labels.dtype == np.int32
    assert drawn.labels.tolist() == [0] * 10 + [1] * 10
    assert drawn.names[0] == "happy/01.png"
    assert drawn.names[-1] == "sad/10.png"
    assert len(set(drawn.names)) == len(drawn.images) == 20
    assert drawn.taken == (None,) * 20
    assert drawn.skipped == ()
    assert all(image.shape == (160, 160, 3) for image in drawn.images)
    assert all(image.dtype == np.uint8 for image in drawn.images)


def test_is_what_is_loaded_when_saved(tmp_path):
    drawn = drawn_faces.draw_faces()
    for name, image in zip(drawn.names, drawn.images, strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / name)
    loaded = labelled.load_photos(str(tmp_path))
    assert loaded.names == drawn.names
    assert loaded.class_names == drawn.class_names
    np.testing.assert_array_equal(loaded.labels, drawn.labels)
    np.testing.assert_array_equal(np.stack(loaded.images), np.stack(drawn.images))


def test_seed_decides_everything(drawn):
    first, again, other = (drawn_faces.draw_faces(3, seed).images for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[:3], drawn.images[:3])  # also with fewer faces
    np.testing.assert_array_equal(first[3:], drawn.images[10:13])
    assert all((a != b).mean() > 0.5 for a, b in zip(first, other, strict=True))


def test_no_two_are_copies(drawn):
    assert grouping.near_duplicates(drawn.images) == []
    assert grouping.near_duplicates(drawn_faces.draw_faces().images) == []


def nearest_mean(features, labels):
    """Accuracy of the nearest class mean, each image left out in turn."""
    features = (features - features.mean(0)) / features.std(0)
    right = 0
    for i, row in enumerate(features):
        rest = np.arange(len(features)) != i
        means = [features[rest & (labels == k)].mean(0) for k in (0, 1)]
        right += np.argmin([((row - mean) ** 2).sum() for mean in means]) == labels[i]
    return right / len(features)


@pytest.mark.slow
@pytest.mark.parametrize(
    "describe",
    [
        lambda images: images.mean((1, 2)),
        lambda images: images.mean((1, 2, 3))[:, None],
        lambda images: images.std((1, 2)),
        lambda images: images.reshape(-1, 4, 40, 4, 40, 3).mean((2, 4)).reshape(len(images), -1),
    ],
    ids=["colour", "brightness", "contrast", "coarse colours"],
)
def test_colours_do_not_tell_the_class(many, describe):
    """Of 80 guesses, 65 % are right by chance once in 200 times."""
    images = np.stack(many.images).astype(float)
    assert nearest_mean(describe(images), many.labels) < 0.65


def twins(number):
    """One person, happy and sad, as grey levels."""
    person = drawn_faces._Person.of(np.random.default_rng([7, number]))
    pair = [
        drawn_faces._draw(person, happy, np.random.default_rng([7, number]))
        for happy in (True, False)
    ]
    return np.stack(pair).astype(float).mean(-1)


def test_classes_differ_in_mouth_and_brows_only():
    for number in range(5):
        happy, sad = twins(number)
        changed = happy != sad
        assert 0.01 < changed.mean() < 0.15
        # Between these two nothing changes: eyes, nose, and all around the face.
        rows = changed.any(1)
        assert not rows[:10].any()
        assert not rows[-10:].any()
        gaps = np.diff(np.flatnonzero(rows))
        assert gaps.max() > 5


def slants(images):
    """How lines slant, in 8 x 8 cells of the left half and of the mirrored right half."""
    grey = ndimage.gaussian_filter(np.stack(images).astype(float).mean(-1), (0, 2, 2))
    down, right = np.gradient(grey, axis=(1, 2))
    cells = [
        values.reshape(-1, 16, 10, 16, 10).mean((2, 4))
        for values in (down * right, down**2 + right**2)
    ]
    slant = cells[0] / (cells[1] + 20)
    return (slant[:, :, :8] - slant[:, :, :7:-1]).reshape(len(grey), -1)


@pytest.mark.slow
def test_lines_tell_the_class(many):
    """Ridge regression on how lines slant, fitted to other faces: mouths and brows are clear."""
    known = drawn_faces.draw_faces(30, seed=2)
    x, y = slants(known.images), 2.0 * known.labels - 1
    weights = np.linalg.solve(x.T @ x + 2 * np.eye(x.shape[1]), x.T @ y)
    right = (slants(many.images) @ weights > 0) == (many.labels == 1)
    assert right.mean() > 0.9


@pytest.mark.parametrize(
    ("given", "expected"),
    [((0, 0), "per_class is 0: give 1 or more"), ((2, -1), "seed is -1: give 0 or more")],
)
def test_out_of_range(given, expected):
    with pytest.raises(UserError, match=expected):
        drawn_faces.draw_faces(*given)
