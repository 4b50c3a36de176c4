"""Grad-CAM against its closed form, and pictures that show what they should."""

import dataclasses

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from ml_collections import ConfigDict

from cifsel.evaluation import features
from cifsel.prediction import gradcam, trained_model


@pytest.fixture(scope="module")
def trained(build_tiny, variables_of):
    model = build_tiny("mobilenet", num_classes=7)
    view = features.View(64, "bilinear", mirror=True)
    return trained_model.TrainedModel(
        model, variables_of(model, 64), view, 32, tuple("abcdefg"), ConfigDict(), ""
    )


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)


@pytest.mark.slow
def test_heat_is_the_class_activation_map_of_a_linear_head(trained, images):
    """With average pooling and one linear layer, Grad-CAM is Zhou et al.'s map (2016)."""
    classes = np.array([0, 1, 2, 3, 4, 5])
    heat = gradcam.heat(trained, images, classes)
    resized = jax.image.resize(jnp.asarray(images, jnp.float32), (6, 64, 64, 3), "bilinear")
    maps = np.asarray(trained.model.apply(trained.variables, resized, method="feature_map"))
    kernel = np.asarray(trained.variables["params"]["head"]["logits"]["kernel"])
    expected = np.maximum(np.einsum("nhwd,dn->nhw", maps, kernel[:, classes]), 0)
    highest = expected.max((1, 2), keepdims=True)
    expected = np.divide(expected, highest, out=np.zeros_like(expected), where=highest > 0)
    assert heat.shape == (6, 4, 4)
    np.testing.assert_allclose(heat, expected, atol=1e-5)
    assert heat.max() == 1.0


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
    against = dataclasses.replace(trained, variables=variables)
    np.testing.assert_array_equal(gradcam.heat(against, images, np.zeros(6, int)), 0.0)


def test_overlay_colours_what_is_hot_and_keeps_the_image_visible():
    images = np.full((1, 32, 32, 3), 200, np.uint8)
    heat = np.zeros((1, 2, 2), np.float32)
    heat[0, 0, 0] = 1.0
    shown = gradcam.overlay(images, heat, 96)
    assert (shown.shape, shown.dtype) == ((1, 96, 96, 3), np.uint8)
    assert (shown[0, -1, -1] == 200).all()
    # Where it is hottest, the photo still makes up two fifths of the colour.
    yellow = 255 * np.array(matplotlib.colormaps["plasma"](1.0)[:3])
    np.testing.assert_allclose(shown[0, 0, 0], 0.4 * 200 + 0.6 * yellow, atol=1)


def test_a_map_of_one_cell_leaves_the_image_as_it_is():
    images = np.full((1, 32, 32, 3), 200, np.uint8)
    heat = np.ones((1, 1, 1), np.float32)
    assert not gradcam.has_places(heat)
    assert gradcam.has_places(np.ones((1, 1, 2), np.float32))
    assert (gradcam.overlay(images, heat, 64) == 200).all()


def test_the_scale_has_the_colours_of_the_overlay():
    scale = gradcam.scale(width=5, height=2)
    grey = np.full((1, 2, 2, 3), 160, np.uint8)
    hot = gradcam.overlay(grey, np.array([[[1.0, 1.0]]], np.float32), 2)
    assert scale.shape == (2, 5, 3)
    assert (scale[:, 0] == 160).all()
    np.testing.assert_array_equal(scale[0, -1], hot[0, 0, 0])


# --- a linear head on cells of inner layers ---


def inner_maps(trained, images):
    """(N, h, w, C) by layer, from the views that the model is shown."""
    model, variables = trained.model, trained.variables
    keep = {"capture_intermediates": True, "mutable": ["intermediates"]}
    _, state = model.apply(variables, images, method="feature_map", **keep)
    outputs = state["intermediates"]["backbone"]
    return {name: np.asarray(outputs[name]["__call__"][0]) for name in ("first", "second")}


def by_hand(trained, images, kernel, classes, place):
    """Evidence by loops over cells, and the sum that the logits are made of."""
    layer, grid = place
    maps = inner_maps(trained, jnp.asarray(images))[layer]
    side, channels = maps.shape[1], maps.shape[3]
    weights = kernel.reshape(grid, grid, channels, -1)
    evidence = np.zeros(maps.shape[:3])
    for row in range(grid):
        for column in range(grid):
            ys = slice(row * side // grid, -(-(row + 1) * side // grid))
            xs = slice(column * side // grid, -(-(column + 1) * side // grid))
            cell = maps[:, ys, xs]
            share = np.einsum("nhwc,cn->nhw", cell, weights[row, column][:, classes])
            evidence[:, ys, xs] += share / (cell.shape[1] * cell.shape[2])
    return evidence


@pytest.mark.parametrize(("layer", "grid"), [("second", 1), ("first", 3), ("first", 5)])
@pytest.mark.parametrize("mirror", [False, True])
def test_evidence_of_cells_is_what_the_logits_are_made_of(trained, images, layer, grid, mirror):
    view, classes = features.View(64, "bilinear", mirror), np.array([0, 1, 2, 0, 1, 2])
    places = [(layer, grid)]
    cells = features.cells(trained.model, view, places)(trained.variables, images)
    kernel = np.random.default_rng(0).normal(size=(cells.shape[1], 3)).astype(np.float32)
    kernel -= kernel.mean(1, keepdims=True)
    expected = np.zeros(1)
    ways = [np.asarray(way) for way in view.of(jnp.asarray(images))]
    for flipped, way in enumerate(ways):
        evidence = by_hand(trained, way, kernel, classes, places[0])
        expected = expected + (evidence[:, :, ::-1] if flipped else evidence) / len(ways)
    logits = (np.asarray(cells) @ kernel)[np.arange(6), classes]
    np.testing.assert_allclose(expected.sum((1, 2)), logits, atol=1e-4)
    heat = gradcam.of_cells(trained.model, view, places)(
        trained.variables, kernel + 5.0, images, classes
    )
    kept = np.maximum(expected, 0)
    np.testing.assert_allclose(heat, kept / kept.max((1, 2), keepdims=True), atol=1e-4)


def test_several_layers_add_up_at_the_size_of_the_finest(trained, images):
    view, places = features.View(64, "bilinear", mirror=False), [("second", 1), ("first", 1)]
    kernel = np.zeros((18, 2), np.float32)
    compute = gradcam.of_cells(trained.model, view, places)
    nothing = compute(trained.variables, kernel, images, np.zeros(6, int))
    assert nothing.shape == (6, 16, 16)
    np.testing.assert_array_equal(nothing, 0.0)
    kernel[12:, 0] = 1.0  # of the finer layer alone
    alone = gradcam.of_cells(trained.model, view, places[1:])
    np.testing.assert_allclose(
        compute(trained.variables, kernel, images, np.zeros(6, int)),
        alone(trained.variables, kernel[12:], images, np.zeros(6, int)),
        atol=1e-5,
    )
