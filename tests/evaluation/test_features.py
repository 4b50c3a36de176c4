"""Features and logits of images equal the model applied to resized images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifsel.data import transforms
from cifsel.evaluation import features

SIZE = 24


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=["average", "flatten"])
def model(request, build_tiny, variables_of):
    built = build_tiny(pool=request.param)
    return built, variables_of(built, SIZE)


def seen(images):
    return transforms.resize(jnp.asarray(images), SIZE, "bilinear")


@pytest.mark.parametrize("mirror", [False, True])
def test_views_are_averaged(model, images, mirror):
    model, variables = model
    view = features.View(SIZE, "bilinear", mirror)
    ways = seen(images), seen(images)[:, :, ::-1]
    for method, forward in (("__call__", features.logits), ("features", features.pooled)):
        apply = jax.jit(functools.partial(model.apply, method=method))
        expected, other = (apply(variables, images) for images in ways)
        assert not np.allclose(expected, other, atol=1e-3)
        if mirror:
            expected = (expected + other) / 2
        found = forward(model, view)(variables, images)
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_head_on_maps_is_the_model(model, images):
    model, variables = model
    view = features.View(SIZE, "bilinear", mirror=False)
    maps = features.maps(model, view)(variables, images)
    assert maps.shape == ((3, 1, 1, 12) if model.head.pool == "average" else (3, 2, 2, 12))
    logits = jax.jit(functools.partial(model.apply, method="classify"))(variables, maps)
    np.testing.assert_allclose(logits, features.logits(model, view)(variables, images), atol=1e-5)


def test_images_are_judged_one_by_one(model, images):
    model, variables = model
    forward = features.logits(model, features.View(SIZE, "bilinear", mirror=True))
    together = forward(variables, images)
    alone = forward(variables, images[[2, 2, 1]])
    np.testing.assert_allclose(np.asarray(together)[[2, 2, 1]], alone, atol=1e-5)
