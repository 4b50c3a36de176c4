"""Nested cross-validation: against the same written out, and on labels that mean nothing."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from cifsel.evaluation import scoring
from cifsel.selfie.protocol import folds as folds_lib
from cifsel.selfie.protocol import logistic, nested_cv, scores
from cifsel.selfie.protocol.folds import Folds

L2 = (1e-2, 1e-1, 1.0)


def points_of(*features):
    return np.stack(
        [logistic.RotatedFeatures.of(own.astype(np.float32)).points for own in features]
    )


def labels_of(*counts):
    return np.repeat(np.arange(len(counts)), counts).astype(np.int32)


def signal(labels, strength, seed, width=40):
    """Features (N, D) about random centres of the classes, `strength` apart."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(labels.max() + 1, width))
    return rng.normal(size=(len(labels), width)) + strength * centres[labels]


def each_alone(labels):
    return np.arange(len(labels), dtype=np.int32)


@functools.cache
def example():
    """Points of four kinds of features, labels, and folds. The third kind tells most."""
    labels = np.random.default_rng(0).permutation(labels_of(14, 10))
    points = points_of(*(signal(labels, s, seed) for seed, s in enumerate((0, 0.2, 0.6, 0))))
    folds = folds_lib.repeated(labels, each_alone(labels), folds=4, repeats=3, seed=0)
    return points, labels, folds


@functools.cache
def predicted_example():
    points, labels, folds = example()
    return nested_cv.nested_cross_validation(points, labels, folds, L2, 2)


def platt(n):
    return (n + 1) / (n + 2)


def smoothed_loss(logits, labels):
    """Mean over classes of the mean cross-entropy against Platt's targets."""
    counts = np.bincount(labels)
    by_class = []
    for label, count in enumerate(counts):
        targets = np.full(len(counts), (1 - platt(count)) / (len(counts) - 1))
        targets[label] = platt(count)
        log_probabilities = np.log(scoring.softmax(logits[labels == label]))
        by_class.append(-(log_probabilities * targets).sum(1).mean())
    return np.mean(by_class)


def fitted(points, labels, kept, l2):
    """Scikit-learn's logits (N, K) of all photos, learned from those kept, all classes alike."""
    x, own = points.astype(np.float64), labels[kept]
    classes = labels.max() + 1
    weights = 1 / np.bincount(own)[own]
    strength = (2 if classes == 2 else 1) / (l2 * weights.sum())
    model = LogisticRegression(C=strength, solver="newton-cg", tol=1e-7)
    logits = model.fit(x[kept], own, sample_weight=weights).decision_function(x)
    return np.stack([-logits / 2, logits / 2], 1) if classes == 2 else logits


def written_out(points, labels, test, inner):
    """One fold as a loop: chosen kind, chosen penalty, temperature, probabilities (N, K)."""
    best = (np.inf,)
    for kind, own in enumerate(points):
        for number, l2 in enumerate(L2):
            held_out = np.zeros((len(labels), labels.max() + 1))
            for way in inner[inner.any(1)]:
                held_out[way] = fitted(own, labels, ~test & ~way, l2)[way]
            for temperature in nested_cv.TEMPERATURES:
                loss = smoothed_loss(held_out[~test] / temperature, labels[~test])
                if loss < best[0] - 1e-7:
                    best = loss, kind, number, temperature
    _, kind, number, temperature = best
    final = fitted(points[kind], labels, ~test, L2[number])
    return kind, number, temperature, scoring.softmax(final / temperature)


@pytest.mark.slow
@pytest.mark.parametrize("counts", [(9, 12), (8, 6, 7)])
def test_does_what_it_would_do_written_out(counts):
    labels = np.random.default_rng(0).permutation(labels_of(*counts))
    points = points_of(signal(labels, 0.4, 0), signal(labels, 0.5, 1))
    folds = folds_lib.repeated(labels, each_alone(labels), folds=3, repeats=1, seed=0)
    predictions = nested_cv.nested_cross_validation(points, labels, folds, L2, len(counts))
    assert predictions.probabilities.shape == (3, len(labels), len(counts))
    for fold, (test, inner) in enumerate(zip(folds.test, folds.inner, strict=True)):
        *choices, probabilities = written_out(points, labels, test, inner)
        chosen = [predictions.feature[fold], predictions.l2[fold], predictions.temperature[fold]]
        assert chosen == pytest.approx(choices)
        np.testing.assert_allclose(predictions.probabilities[fold], probabilities, atol=2e-3)


@pytest.mark.slow
def test_labels_that_mean_nothing_are_guessed():
    """And no oftener than guessed, although there are two kinds of features to choose from."""
    counts, rng = (12, 6, 6), np.random.default_rng(1)
    dealings = 80
    points = points_of(*rng.normal(size=(2, sum(counts), 60)))
    dealt = [rng.permutation(labels_of(*counts)) for _ in range(dealings)]
    each = [
        folds_lib.repeated(labels, each_alone(labels), folds=4, repeats=1, seed=seed)
        for seed, labels in enumerate(dealt)
    ]
    test, inner = (
        np.concatenate([getattr(own, name) for own in each]) for name in ("test", "inner")
    )
    folds = Folds(test, inner, dealings)
    own = np.repeat(dealt, 4, axis=0)
    predictions = nested_cv.nested_cross_validation(points, own, folds, L2, len(counts))
    predicted = scores.out_of_fold(predictions.probabilities, folds).argmax(2)
    # Of classes of unequal size the larger one may be guessed more often: classes count alike.
    balanced = np.zeros(dealings)
    for label in range(len(counts)):
        members = np.stack(dealt) == label
        balanced += ((predicted == label) & members).sum(1) / members.sum(1) / len(counts)
    error = balanced.std(ddof=1) / np.sqrt(dealings)
    assert error < 0.02
    assert abs(balanced.mean() - 1 / len(counts)) < 2.58 * error


@pytest.mark.slow
def test_labels_of_photos_held_out_have_no_say():
    points, labels, folds = example()
    own = np.repeat(labels[None], len(folds.test), axis=0)
    changed = np.where(folds.test, 1 - own, own)
    first, other = (
        nested_cv.nested_cross_validation(points, given, folds, L2, 2) for given in (own, changed)
    )
    for name in ("probabilities", "feature", "l2", "temperature"):
        np.testing.assert_array_equal(getattr(first, name), getattr(other, name))
    # While a label that is learned from has.
    changed = np.where(np.arange(len(labels)) == 0, 1 - own, own)
    other = nested_cv.nested_cross_validation(points, changed, folds, L2, 2)
    differs = np.abs(first.probabilities - other.probabilities).max((1, 2)) > 1e-3
    np.testing.assert_array_equal(differs, folds.train[:, 0])


@pytest.mark.slow
def test_features_of_photos_held_out_have_no_say():
    points, labels, folds = example()
    photo = 5
    fold = int(np.flatnonzero(folds.test[:, photo])[0])
    # Turned round they are as long as before, so that steps are as long as before.
    turned = points * np.where(np.arange(len(labels)) == photo, -1, 1)[:, None]
    first = predicted_example()
    other = nested_cv.nested_cross_validation(turned, labels, folds, L2, 2)
    for name in ("feature", "l2", "temperature"):
        assert getattr(first, name)[fold] == getattr(other, name)[fold]
    before, after = first.probabilities[fold], other.probabilities[fold]
    others = np.arange(len(labels)) != photo
    np.testing.assert_allclose(before[others], after[others], atol=1e-3)
    assert np.abs(before[photo] - after[photo]).max() > 0.01


@pytest.mark.slow
def test_what_the_other_folds_hold_out_has_no_say():
    points, labels, folds = example()
    some = Folds(folds.test[:4], folds.inner[:4], 1)
    first = predicted_example()
    other = nested_cv.nested_cross_validation(points, labels, some, L2, 2)
    np.testing.assert_array_equal(first.feature[:4], other.feature)
    np.testing.assert_allclose(first.probabilities[:4], other.probabilities, atol=1e-3)


def test_chooses_the_features_that_tell_something():
    points, labels, folds = example()
    predictions = predicted_example()
    assert predictions.probabilities.shape == (12, 24, 2)
    np.testing.assert_allclose(predictions.probabilities.sum(2), 1, atol=1e-6)
    assert np.isin(predictions.temperature, nested_cv.TEMPERATURES).all()
    assert np.mean(predictions.feature == 2) > 0.9
    predicted = scores.out_of_fold(predictions.probabilities, folds).argmax(2)
    assert np.mean(predicted == labels) > 0.9
    # The same features in another place.
    turned = nested_cv.nested_cross_validation(points[::-1], labels, folds, L2, 2)
    np.testing.assert_array_equal(turned.feature, 3 - predictions.feature)


def test_average_is_the_mean_of_the_logits_at_a_temperature_of_the_inner_folds():
    labels = np.random.default_rng(0).permutation(labels_of(9, 12))
    points = points_of(signal(labels, 0.3, 0), signal(labels, 0.4, 1))
    folds = folds_lib.repeated(labels, each_alone(labels), folds=3, repeats=1, seed=0)
    predictions = nested_cv.nested_cross_validation(points, labels, folds, L2[:1], 2, average=True)
    assert not predictions.feature.any()
    for fold, (test, inner) in enumerate(zip(folds.test, folds.inner, strict=True)):

        def mean(kept):
            return np.mean([fitted(own, labels, kept, L2[0]) for own in points], axis=0)

        held_out = sum(mean(~test & ~way) * way[:, None] for way in inner)
        losses = []
        for temperature in nested_cv.TEMPERATURES:
            shares = np.log(scoring.softmax(held_out / temperature))[np.arange(len(labels)), labels]
            of_class = [shares[~test & (labels == k)].mean() for k in (0, 1)]
            prior = np.log(temperature / nested_cv.USUAL_TEMPERATURE) ** 2
            weight = nested_cv.PRIOR_PHOTOS / (~test).sum()
            losses.append(weight * prior - np.mean(of_class))
        temperature = nested_cv.TEMPERATURES[np.argmin(losses)]
        assert predictions.temperature[fold] == pytest.approx(temperature)
        expected = scoring.softmax(mean(~test) / temperature)
        np.testing.assert_allclose(predictions.probabilities[fold], expected, atol=2e-3)


def test_average_of_features_that_tell_and_of_others_still_tells():
    points, labels, folds = example()
    predictions = nested_cv.nested_cross_validation(points, labels, folds, (1e-2,), 2, average=True)
    held_out = scores.out_of_fold(predictions.probabilities, folds)
    assert np.mean(held_out.argmax(2) == labels) > 0.7
    # Photos that a fold holds out have no say in it.
    own = np.repeat(labels[None], len(folds.test), axis=0)
    changed = np.where(folds.test, 1 - own, own)
    other = nested_cv.nested_cross_validation(points, changed, folds, (1e-2,), 2, average=True)
    np.testing.assert_array_equal(other.probabilities, predictions.probabilities)


def chosen(logits, labels, kept):
    """The best setting and its temperature, of a single fold."""
    fold = (jnp.asarray(array)[None] for array in (logits, labels, kept))
    (best,), (temperature,) = nested_cv.choose_setting(*fold)
    return int(best), float(temperature)


@pytest.mark.slow
def test_choose_setting_finds_what_a_finer_grid_finds():
    rng = np.random.default_rng(0)
    labels = labels_of(30, 50, 20)
    kept = rng.random(100) < 0.8
    logits = rng.normal(size=(5, 100, 3)) + np.eye(3)[labels] * np.arange(5)[:, None, None] / 2
    logits *= np.array([1, 4, 0.3, 6, 0.5])[:, None, None]
    grid = np.geomspace(0.1, 10, 201)
    losses = [[smoothed_loss(own[kept] / t, labels[kept]) for t in grid] for own in logits]
    setting, place = np.unravel_index(np.argmin(losses), (5, len(grid)))
    best, temperature = chosen(logits, labels, kept)
    assert best == setting == 4
    step = nested_cv.TEMPERATURES[1] / nested_cv.TEMPERATURES[0]
    assert 1 / step < temperature / grid[place] < step
    # Photos that are not kept have no influence.
    spoilt = np.where(kept[:, None], logits, 100 * rng.normal(size=logits.shape))
    assert chosen(spoilt, labels, kept) == (best, temperature)


@pytest.mark.parametrize("overconfident", [0.3, 1.0, 3.0])
def test_choose_setting_finds_how_overconfident_logits_are(overconfident):
    rng = np.random.default_rng(0)
    honest = rng.normal(size=(4000, 2)) * 1.5
    labels = (rng.random(4000) < scoring.softmax(honest)[:, 1]).astype(np.int32)
    _, temperature = chosen(overconfident * honest[None], labels, np.ones(4000, bool))
    assert temperature == pytest.approx(overconfident, rel=0.3)


@pytest.mark.parametrize("each", [3, 12])
def test_a_few_photos_all_right_leave_room_for_doubt(each):
    labels = labels_of(each, each)
    logits = np.eye(2)[labels][None]
    _, temperature = chosen(logits, labels, np.ones(2 * each, bool))
    assert scoring.softmax(logits[0] / temperature).max() == pytest.approx(platt(each), abs=0.03)


def test_weights_of_each_class_sum_to_one():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (6, 30)).astype(np.int32)
    kept = rng.random((6, 30)) < 0.5
    kept[5] &= labels[5] != 1  # None is left of a class.
    weights = np.asarray(nested_cv.balanced(jnp.asarray(labels), jnp.asarray(kept), 3))
    assert (weights[~kept] == 0).all()
    sums = np.stack([np.where(labels == label, weights, 0).sum(1) for label in range(3)], 1)
    np.testing.assert_allclose(sums, [[1, 1, 1]] * 5 + [[1, 0, 1]], rtol=1e-6)
    for row, own in zip(weights[:5], labels[:5], strict=True):
        assert [len(np.unique(row[(own == label) & (row > 0)])) for label in range(3)] == [1, 1, 1]
