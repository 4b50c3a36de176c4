"""Logistic regression against scikit-learn's, and what the rotation must leave as it is."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import distance
from sklearn.linear_model import LogisticRegression

from cifsel.selfie.protocol import logistic

# Without penalty there would be no one solution: the smallest one leaves room for error.
ROOM = {1e-4: 2e-2, 1e-3: 1e-3, 1e-2: 1e-3, 1e-1: 1e-3, 1.0: 1e-3}  # of probabilities
L2 = tuple(ROOM)
FITS = 3


@functools.cache
def problem(classes, photos, width):
    """Features with a signal of the first labels. Every fit has its own labels and weights.

    Returns:
      Features (N, D), labels (F, N) and weights (F, N); some photos are held out of each fit but
      the first, which counts all alike.
    """
    rng = np.random.default_rng(classes)
    first = np.arange(photos) % classes
    labels = np.stack([first, *(rng.permutation(first) for _ in range(FITS - 1))])
    features = rng.normal(size=(photos, width)) * rng.uniform(0.2, 5, width) + 3
    features += 3 * rng.normal(size=(classes, width))[first]
    weights = rng.uniform(0.2, 2, (FITS, photos))
    weights[rng.random(weights.shape) < 0.2] = 0
    weights[0] = 1
    return features.astype(np.float32), labels.astype(np.int32), weights.astype(np.float32)


def solved(rotated, labels, weights, classes, l2=L2):
    """Weights, bias, and logits (N, K, F, L) of all photos."""
    arrays = [jnp.asarray(array) for array in (rotated.points, labels, weights)]
    kernel, bias = logistic.solve(*arrays, jnp.asarray(l2, jnp.float32), num_classes=classes)
    return kernel, bias, np.asarray(logistic.logits(arrays[0], kernel, bias))


def by_scikit_learn(features, labels, weights, l2):
    """Probabilities (N, K) of all photos."""
    x = features.astype(np.float64)
    x -= x.mean(0)
    x /= np.sqrt((x**2).sum(1).mean())
    classes = labels.max() + 1
    # Softmax over two columns of opposite sign has half the penalty of a single column.
    strength = (2 if classes == 2 else 1) / (l2 * weights.sum())
    model = LogisticRegression(C=strength, solver="newton-cg", tol=1e-7, max_iter=1000)
    return model.fit(x, labels, sample_weight=weights).predict_proba(x)


# More photos than features, and fewer.
SHAPES = [(2, 24, 60), (2, 24, 4), (3, 21, 40), (4, 40, 6)]


@pytest.mark.parametrize(("classes", "photos", "width"), SHAPES)
@pytest.mark.slow
def test_solves_what_scikit_learn_solves(classes, photos, width):
    features, labels, weights = problem(classes, photos, width)
    rotated = logistic.RotatedFeatures.of(features)
    kernel, bias, logits = solved(rotated, labels, weights, classes)
    assert kernel.shape == (photos, classes, FITS, len(L2))
    assert bias.shape == (classes, FITS, len(L2))
    probabilities = np.asarray(jax.nn.softmax(logits, axis=1))
    for fit in range(FITS):
        for number, l2 in enumerate(L2):
            expected = by_scikit_learn(features, labels[fit], weights[fit], l2)
            np.testing.assert_allclose(probabilities[:, :, fit, number], expected, atol=ROOM[l2])
    np.testing.assert_allclose(kernel.sum(1), 0, atol=1e-3)
    np.testing.assert_allclose(bias.sum(0), 0, atol=1e-3)


def test_features_that_tell_something_are_used():
    features, labels, weights = problem(3, 21, 40)
    logits = solved(logistic.RotatedFeatures.of(features), labels, weights, 3)[2]
    np.testing.assert_array_equal(logits[:, :, 0, 0].argmax(1), labels[0])
    confidence = np.asarray(jax.nn.softmax(logits, axis=1)).max(1)[:, 0].mean(0)
    assert np.all(np.diff(confidence) < -0.01)  # the more penalty, the less


def test_what_is_held_out_has_no_say():
    features, labels, weights = problem(2, 24, 60)
    rotated = logistic.RotatedFeatures.of(features)
    changed = np.where(weights == 0, 1 - labels, labels)
    assert (changed != labels).any()
    logits = solved(rotated, labels, weights, 2)[2]
    np.testing.assert_array_equal(logits, solved(rotated, changed, weights, 2)[2])


def test_only_proportions_of_weights_count():
    features, labels, weights = problem(2, 24, 60)
    rotated = logistic.RotatedFeatures.of(features)
    logits = solved(rotated, labels, weights, 2)[2]
    np.testing.assert_allclose(logits, solved(rotated, labels, 8 * weights, 2)[2], atol=1e-5)


@pytest.mark.parametrize(("photos", "width"), [(24, 200), (24, 4), (7, 7)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_rotation_keeps_all_distances_but_for_one_scale(photos, width, scale):
    rng = np.random.default_rng(0)
    features = scale * (rng.normal(size=(photos, width)) * rng.uniform(0.1, 3, width) + 10)
    rotated = logistic.RotatedFeatures.of(features.astype(np.float32))
    assert rotated.points.shape == (photos, photos)
    assert rotated.basis.shape == (photos, width)
    assert {rotated.points.dtype, rotated.basis.dtype, rotated.mean.dtype} == {np.dtype(np.float32)}
    before, after = distance.pdist(features), distance.pdist(rotated.points)
    np.testing.assert_allclose(after, before * (after.sum() / before.sum()), rtol=1e-4)
    np.testing.assert_allclose(rotated.points.mean(0), 0, atol=1e-5)
    assert (rotated.points**2).sum(1).mean() == pytest.approx(1)
    np.testing.assert_allclose(rotated.mean, features.mean(0), rtol=1e-5)
    projected = (features - features.mean(0)) @ rotated.basis.T
    np.testing.assert_allclose(projected, rotated.points, atol=1e-4)


@pytest.mark.parametrize(("classes", "photos", "width"), SHAPES)
def test_unrotated_classifier_is_for_features_as_they_are(classes, photos, width):
    features, labels, weights = problem(classes, photos, width)
    rotated = logistic.RotatedFeatures.of(features)
    kernel, bias, logits = solved(rotated, labels, weights, classes)
    own = rotated.unrotate(np.asarray(kernel[:, :, 1, 1]), np.asarray(bias[:, 1, 1]))
    assert own[0].shape == (width, classes)
    np.testing.assert_allclose(features @ own[0] + own[1], logits[:, :, 1, 1], atol=1e-4)
    # Nor does a new photo notice, whose features lie outside the span of the others.
    new = features[:3] + np.random.default_rng(1).normal(size=(3, width)).astype(np.float32)
    seen = (new - rotated.mean) @ rotated.basis.T
    expected = logistic.logits(jnp.asarray(seen), kernel, bias)[:, :, 1, 1]
    np.testing.assert_allclose(new @ own[0] + own[1], expected, atol=1e-3)


def one_differs():
    features = np.zeros((12, 5), np.float32)
    features[3] = 1
    return features


DEGENERATE = {
    "constant": np.full((12, 5), 0.1, np.float32),
    "zero": np.zeros((12, 5), np.float32),
    "one differs": one_differs(),
    "one feature": np.linspace(-1, 1, 12, dtype=np.float32)[:, None],
    "a constant feature": np.insert(
        np.random.default_rng(0).normal(size=(12, 30)).astype(np.float32), 3, 57.3, axis=1
    ),
    "all twice": np.repeat(np.random.default_rng(0).normal(size=(6, 30)), 2, 0).astype(np.float32),
    "tiny": 1e-12 * np.random.default_rng(0).normal(size=(12, 30)).astype(np.float32),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_features_give_numbers(name):
    features = DEGENERATE[name]
    rotated = logistic.RotatedFeatures.of(features)
    for array in (rotated.points, rotated.basis, rotated.mean):
        assert np.isfinite(array).all()
    labels = np.tile([0, 1], 6).astype(np.int32)[None]
    kernel, bias, logits = solved(rotated, labels, np.ones((1, 12), np.float32), 2)
    assert np.isfinite(logits).all()
    own = rotated.unrotate(np.asarray(kernel[:, :, 0, 0]), np.asarray(bias[:, 0, 0]))
    np.testing.assert_allclose(features @ own[0] + own[1], logits[:, :, 0, 0], atol=1e-4)
    if name in ("constant", "zero"):
        np.testing.assert_allclose(logits, 0, atol=1e-5)  # six of each class, and nothing to see


def test_copies_are_one_point():
    rotated = logistic.RotatedFeatures.of(DEGENERATE["all twice"])
    np.testing.assert_allclose(rotated.points[::2], rotated.points[1::2], atol=1e-5)
    assert (np.abs(rotated.points).max(0) > 1e-4).sum() == 5  # six places, centred
