"""Grad-CAM against its closed form, and pictures that show what they should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifsel import features, restore
from cifsel.comparison import gradcam


@pytest.fixture(scope="module")
def trained(quick_compiling, build_tiny, variables_of):
    model = build_tiny("mobilenet", num_classes=7)
    view = features.View(64, "bilinear", mirror=True)
    return restore.Trained(model, variables_of(model, 64), view, tuple("abcdefg"))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)


def test_heat_is_the_class_activation_map_of_a_linear_head(trained, images):
    """With average pooling and one linear layer, Grad-CAM is Zhou et al.'s map (2016)."""
    classes = np.array([0, 1, 2, 3, 4, 5])
    found = gradcam.heat(trained, images, classes)
    resized = jax.image.resize(jnp.asarray(images, jnp.float32), (6, 64, 64, 3), "bilinear")
    maps = np.asarray(trained.model.apply(trained.variables, resized, method="feature_map"))
    kernel = np.asarray(trained.variables["params"]["head"]["logits"]["kernel"])
    expected = np.maximum(np.einsum("nhwd,dn->nhw", maps, kernel[:, classes]), 0)
    highest = expected.max((1, 2), keepdims=True)
    expected = np.divide(expected, highest, out=np.zeros_like(expected), where=highest > 0)
    assert found.shape == (6, 4, 4)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.max() == 1.0


def test_each_image_has_its_own_heat(trained, images):
    classes = np.array([3, 3, 3, 3, 3, 3])
    together = gradcam.heat(trained, images, classes)
    alone = gradcam.heat(trained, images[2:3], classes[:1])
    np.testing.assert_allclose(together[2], alone[0], atol=1e-5)


def test_nothing_for_the_class_is_nowhere(trained, images):
    """A head that counts every channel against class 0."""
    params = trained.variables["params"]
    kernel = params["head"]["logits"]["kernel"].at[:, 0].set(-1.0)
    head = {"logits": params["head"]["logits"] | {"kernel": kernel}}
    variables = trained.variables | {"params": params | {"head": head}}
    against = restore.Trained(trained.model, variables, trained.view, trained.class_names)
    np.testing.assert_array_equal(gradcam.heat(against, images, np.zeros(6, int)), 0.0)


def test_overlay_keeps_what_is_hot_and_dims_the_rest():
    images = np.full((1, 32, 32, 3), 200, np.uint8)
    heat = np.zeros((1, 2, 2), np.float32)
    heat[0, 0, 0] = 1.0
    shown = gradcam.overlay(images, heat, 96)
    assert (shown.shape, shown.dtype) == ((1, 96, 96, 3), np.uint8)
    assert (shown[0, 0, 0] == 200).all()
    assert (shown[0, -1, -1] == 30).all()
    everywhere = gradcam.overlay(images, np.ones((1, 1, 1)), 64)
    assert (everywhere == 200).all()
