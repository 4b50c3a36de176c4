import numpy as np
import pytest

from cifsel.data import drawn_images
from cifsel.errors import UserError


@pytest.fixture(scope="module")
def drawn():
    return drawn_images.draw_classes(train_per_class=20, val_per_class=5, test_per_class=10, seed=0)


def test_has_the_structure_of_the_real_data(drawn):
    assert (len(drawn.train), len(drawn.val), len(drawn.test)) == (1000, 250, 500)
    assert len(set(drawn.class_names)) == 50
    assert list(drawn.class_names) == sorted(drawn.class_names)
    assert list(drawn.coarse_names) == sorted(drawn.coarse_names)
    assert np.bincount(drawn.coarse_of).tolist() == [5] * 10
    for name, group in zip(drawn.class_names, drawn.coarse_of, strict=True):
        assert name.split("-")[0] == drawn.coarse_names[group]
    for split, count in ((drawn.train, 20), (drawn.val, 5), (drawn.test, 10)):
        assert np.bincount(split.labels).tolist() == [count] * 50
        assert split.images.shape == (len(split), 32, 32, 3)
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == split.ids.dtype == np.int32


def test_no_image_occurs_twice(drawn):
    parts = (drawn.train, drawn.val, drawn.test)
    ids = np.concatenate([part.ids for part in parts])
    images = np.concatenate([part.images for part in parts])
    assert len(set(ids.tolist())) == len(ids)
    assert len({image.tobytes() for image in images}) == len(ids)


def test_seed_decides_everything(drawn):
    sizes = {"train_per_class": 2, "val_per_class": 1, "test_per_class": 1}
    first, again, other = (drawn_images.draw_classes(**sizes, seed=seed) for seed in (3, 3, 4))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    np.testing.assert_array_equal(first.test.images, again.test.images)


def test_neither_colour_nor_mean_image_gives_the_class_away(drawn):
    """The nearest class mean is by chance right for colours, and seldom for whole images."""
    for describe, most in (
        (lambda images: images.mean((1, 2)), 0.08),
        (lambda images: images.reshape(len(images), -1).astype(np.float32), 0.25),
    ):
        train, test = describe(drawn.train.images), describe(drawn.test.images)
        means = np.stack([train[drawn.train.labels == k].mean(0) for k in range(50)])
        nearest = ((test[:, None] - means) ** 2).sum(-1).argmin(1)
        assert (nearest == drawn.test.labels).mean() < most


def test_shapes_give_the_class_away():
    """The outlines by themselves, not turned, moved or disturbed, are 50 different ones."""
    v, u = np.mgrid[-1:1:48j, -1:1:48j]
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    masks = [
        shape(count, u, v, radius, angle) < 0
        for shape, counts in drawn_images._FAMILIES.values()
        for count in counts
    ]
    assert all(0.08 < mask.mean() < 0.8 for mask in masks)
    differences = [(a != b).mean() for i, a in enumerate(masks) for b in masks[:i]]
    assert min(differences) > 0.02


@pytest.mark.parametrize(
    ("name", "value"),
    [("train_per_class", 0), ("val_per_class", 0), ("test_per_class", -1), ("seed", -1)],
)
def test_out_of_range(name, value):
    given = {"train_per_class": 1, "val_per_class": 1, "test_per_class": 1, "seed": 0}
    with pytest.raises(UserError, match=f"{name} is {value}"):
        drawn_images.draw_classes(**{**given, name: value})
