"""The probe against SciPy's solution of the same convex problem."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from cifsel.training import lbfgs, probe

CLASSES, FEATURES = 4, 6


def problem(count, seed, *, noise=2.0):
    """Features of different scales and offsets around class means, and labels."""
    centres = np.random.default_rng(0).normal(size=(CLASSES, FEATURES))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    x = centres[labels] + noise * rng.normal(size=(count, FEATURES))
    x = x * np.geomspace(0.01, 1000, FEATURES) + np.arange(FEATURES) * 50
    return x.astype(np.float32), labels.astype(np.int32)


def fit(train, val, **settings):
    settings = {"l2_grid": (1e-3, 1e-2, 1e-1), "max_steps": 500, "tolerance": 1e-5} | settings
    return probe.fit(
        probe.Labelled(*train), probe.Labelled(*val), CLASSES, probe.Search(**settings)
    )


def cross_entropy(logits, labels):
    logits = np.asarray(logits, np.float64)
    total = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
    return (total - logits[np.arange(len(labels)), labels]).mean()


def by_scipy(x, labels, l2):
    """Kernel and bias of least mean cross-entropy + l2 / 2 |kernel|^2, in float64."""
    x = x.astype(np.float64)

    def objective(flat):
        kernel, bias = flat[:-CLASSES].reshape(-1, CLASSES), flat[-CLASSES:]
        logits = x @ kernel + bias
        probabilities = np.exp(logits - logits.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)
        error = (probabilities - np.eye(CLASSES)[labels]) / len(x)
        gradient = np.concatenate([(x.T @ error + l2 * kernel).ravel(), error.sum(0)])
        return cross_entropy(logits, labels) + l2 / 2 * (kernel**2).sum(), gradient

    start = np.zeros((x.shape[1] + 1) * CLASSES)
    options = {"maxiter": 5000, "gtol": 1e-9, "ftol": 1e-15}
    found = scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    return found.x[:-CLASSES].reshape(-1, CLASSES), found.x[-CLASSES:]


def standardised(x, like):
    like = like.astype(np.float64)
    return (x - like.mean(0)) / like.std(0)


@pytest.mark.slow
def test_solves_the_problem():
    l2 = 1e-3
    x, labels = problem(150, 1)
    x = standardised(x, x).astype(np.float32)
    args = jnp.asarray(x), jnp.asarray(labels), jnp.float32(l2)
    start = lbfgs.zero_weights(FEATURES, CLASSES)
    weights, steps, norm = lbfgs.solve(*args, start, max_steps=500, tolerance=1e-5)
    kernel, bias = by_scipy(x, labels, l2)
    np.testing.assert_allclose(weights["kernel"], kernel, atol=1e-3)
    np.testing.assert_allclose(weights["bias"] - weights["bias"].mean(), bias, atol=1e-3)
    assert 1 < steps < 500
    assert norm <= 1e-5

    def objective(weights):
        logits = jax.nn.log_softmax(x @ weights["kernel"] + weights["bias"][None])
        return -logits[jnp.arange(150), labels].mean() + l2 / 2 * jnp.sum(weights["kernel"] ** 2)

    gradient = jax.tree.leaves(jax.grad(objective)(weights))
    assert np.sqrt(sum(np.sum(np.square(g)) for g in gradient)) < 2e-5


@pytest.mark.slow
def test_classifier_is_for_features_as_they_are():
    train, val = problem(150, 1), problem(80, 2)
    solution = fit(train, val)
    assert solution.kernel.shape == (FEATURES, CLASSES)
    assert solution.kernel.dtype == solution.bias.dtype == np.float32
    kernel, bias = by_scipy(standardised(train[0], train[0]), train[1], solution.chosen.l2)
    expected = standardised(val[0], train[0]) @ kernel + bias
    found = val[0] @ solution.kernel + solution.bias
    found = found - found.mean(1, keepdims=True)
    np.testing.assert_allclose(found, expected - expected.mean(1, keepdims=True), atol=5e-3)


def test_keeps_the_penalty_of_least_validation_loss_and_says_what_it_found():
    train, val = problem(150, 1), problem(80, 2)
    solution = fit(train, val)
    penalties = [trial.l2 for trial in solution.trials]
    assert penalties == sorted(penalties)
    assert {1e-3, 1e-2, 1e-1} <= set(penalties)
    assert solution.chosen == min(solution.trials, key=lambda trial: trial.val_loss)
    assert solution.chosen.l2 not in (penalties[0], penalties[-1])
    for (x, labels), loss in zip(
        (train, val), (solution.chosen.train_loss, solution.chosen.val_loss), strict=True
    ):
        assert cross_entropy(x @ solution.kernel + solution.bias, labels) == pytest.approx(
            loss, abs=1e-3
        )
    predicted = (val[0] @ solution.kernel + solution.bias).argmax(1)
    assert np.mean(predicted == val[1]) == pytest.approx(solution.chosen.val_accuracy)
    # More penalty, less fit.
    assert np.all(np.diff([trial.train_loss for trial in solution.trials]) > -1e-5)


def test_grid_grows_until_the_best_is_inside():
    train, val = problem(150, 1), problem(80, 2)
    from_below = fit(train, val, l2_grid=(1e-7, 1e-6)).chosen
    from_above = fit(train, val, l2_grid=(1e2, 1e3)).chosen
    assert 1e-6 < from_below.l2 < 1e2
    assert abs(np.log10(from_above.l2 / from_below.l2)) < 0.75
    assert from_above.val_loss == pytest.approx(from_below.val_loss, abs=2e-3)


@pytest.mark.slow
def test_grid_ends_somewhere():
    """Features that only mislead, and features that tell everything."""
    x, labels = problem(150, 1)
    useless = fit((x, labels), (x, (labels + 1) % CLASSES), l2_grid=(0.1,))
    assert 100 <= useless.chosen.l2 <= 10 * probe.LARGEST_L2
    clear = problem(60, 1, noise=0.1)
    perfect = fit(clear, clear, l2_grid=(0.1,), max_steps=50)
    assert probe.SMALLEST_L2 / 10 <= perfect.chosen.l2 < 1e-3
    assert perfect.chosen.val_accuracy == 1


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, 57.3])
def test_constant_feature_changes_nothing(value):
    train, val = problem(150, 1), problem(80, 2)
    plain = fit(train, val)

    def widened(part):
        return np.insert(part[0], 2, np.float32(value), axis=1), part[1]

    solution = fit(widened(train), widened(val))
    found = widened(val)[0] @ solution.kernel + solution.bias
    np.testing.assert_allclose(found, val[0] @ plain.kernel + plain.bias, atol=2e-2)
    # Nor where it varies for once, in an image that nobody has seen before.
    other = np.insert(val[0], 2, np.float32(value + 0.1), axis=1) @ solution.kernel + solution.bias
    np.testing.assert_allclose(other, found, atol=2e-2)


@pytest.mark.slow
def test_weights_of_images_are_repeated_images():
    """To count a class twice is to have each of its images twice: the same loss and optimum."""
    x, labels = problem(150, seed=1)
    x, labels = jnp.asarray(standardised(x, x), jnp.float32), jnp.asarray(labels)
    weights = jnp.where(labels == 2, 2.0, 1.0)
    start, l2 = lbfgs.zero_weights(FEATURES, CLASSES), jnp.float32(0.1)
    solution, _, _ = lbfgs.solve(x, labels, l2, start, weights, max_steps=500, tolerance=1e-5)
    twice = np.concatenate([np.arange(150), np.flatnonzero(labels == 2)])

    def objective(solution):
        loss = lbfgs.cross_entropy(lbfgs.logits(solution, x[twice]), labels[twice])
        return loss + l2 / 2 * jnp.sum(solution["kernel"] ** 2)

    slopes = jax.grad(objective)(solution)
    assert max(jnp.abs(slope).max() for slope in slopes.values()) < 2e-5
    weighted = lbfgs.cross_entropy(lbfgs.logits(solution, x), labels, weights)
    repeated = lbfgs.cross_entropy(lbfgs.logits(solution, x[twice]), labels[twice])
    assert float(weighted) == pytest.approx(float(repeated), rel=1e-5)


def test_a_class_that_counts_more_is_found_more_often():
    train, val = problem(150, seed=1), problem(80, seed=2)
    search = probe.Search(l2_grid=(0.1,), max_steps=500, tolerance=1e-5)
    equal, favoured = (
        probe.fit(probe.Labelled(*train), probe.Labelled(*val), CLASSES, search, weights)
        for weights in (None, np.array([1, 1, 5, 1], np.float32))
    )
    answers = [np.sum(solution.logits(val[0]).argmax(1) == 2) for solution in (equal, favoured)]
    assert answers[1] > answers[0]
    assert favoured.chosen.val_loss != equal.chosen.val_loss
