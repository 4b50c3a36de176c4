"""Fine-tuning: it starts as the probe, and sees no more than the probe did."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifsel.evaluation import scoring
from cifsel.models import mobilenet
from cifsel.models.classifier import build
from cifsel.selfie.protocol import finetuning, logistic, nested_cv
from cifsel.selfie.protocol import folds as folds_lib

pytestmark = pytest.mark.slow
LAYERS, L2 = ("second",), (0.1, 1.0)
LABELS = np.tile([0, 1], 8).astype(np.int32)
ALONE = np.arange(16, dtype=np.int32)


@pytest.mark.parametrize(("name", "tuned"), [("efficientnetv2-mini", 3), ("mobilenet", 1)])
def test_last_layers_take_over_where_the_others_end(name, tuned, variables_of, monkeypatch):
    monkeypatch.setattr(mobilenet, "BLOCKS", mobilenet.BLOCKS[:4])  # All compile in seconds.
    model = build(name, num_classes=2, alpha=0.25)
    variables = variables_of(model, 64)
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (2, 64, 64, 3)), jnp.float32)
    layers = model.backbone.layer_names[-tuned:]
    maps = finetuning.layer_inputs(model, layers)(variables, images)
    # The others are not needed any more.
    own = {"params": {"backbone": {n: variables["params"]["backbone"][n] for n in layers}}}
    own["batch_stats"] = {"backbone": {n: variables["batch_stats"]["backbone"][n] for n in layers}}
    output = jax.jit(lambda maps: finetuning.last_layers(model, layers, own, maps))(maps)
    expected = jax.jit(lambda x: model.apply(variables, x, method="features"))(images)
    assert np.ptp(expected, axis=0).max() > 0.01
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def prepared(build_tiny, variables_of):
    """A model, its variables, what goes into its last layer, and the features of that."""
    model = build_tiny(num_classes=2)
    variables = variables_of(model, 32)
    rng = np.random.default_rng(0)
    images = rng.normal(120, 40, (16, 32, 32, 3))
    images[LABELS == 1, 8:24] += 25  # a band that is brighter
    images = jnp.asarray(images.clip(0, 255), jnp.float32)
    forward = finetuning.layer_inputs(model, LAYERS)
    maps = tuple(np.asarray(forward(variables, view)) for view in (images, images[:, :, ::-1]))
    pooled = [finetuning.last_layers(model, LAYERS, variables, jnp.asarray(view)) for view in maps]
    rotated = logistic.RotatedFeatures.of(np.asarray(sum(pooled) / 2))
    return model, variables, maps, rotated


@pytest.fixture
def tune(prepared, monkeypatch):
    """(folds, rate, labels) -> what tuning finds."""
    model, variables, maps, rotated = prepared

    def run(folds, rate, labels=LABELS):
        monkeypatch.setattr(finetuning, "LEARNING_RATE", rate)
        return finetuning.fine_tune_in_folds(
            model,
            variables,
            maps=maps,
            rotated=rotated,
            labels=labels,
            folds=folds,
            layers=LAYERS,
            l2=L2,
            num_classes=2,
        )

    return run


def three_folds():
    return folds_lib.repeated(LABELS, ALONE, folds=3, repeats=1, seed=0)


def test_without_a_step_it_is_the_probe(prepared, tune):
    *_, rotated = prepared
    folds = three_folds()
    tuned = tune(folds, 0.0)
    probe = nested_cv.nested_cross_validation(rotated.points[None], LABELS, folds, L2, 2)
    np.testing.assert_array_equal(tuned.epochs, 0)  # the first of equals
    np.testing.assert_allclose(tuned.temperature, probe.temperature)
    np.testing.assert_allclose(tuned.probabilities, probe.probabilities, atol=1e-3)


def test_tunes_the_last_layers_alone(prepared, tune):
    _, variables, *_ = prepared
    before = jax.tree.map(np.array, variables)
    tuned = tune(three_folds(), 0.01)
    assert tuned.probabilities.shape == (3, 16, 2)
    np.testing.assert_allclose(tuned.probabilities.sum(2), 1, atol=1e-6)
    assert np.isin(tuned.epochs, finetuning.EPOCHS).all()
    assert np.isin(tuned.temperature, nested_cv.TEMPERATURES).all()
    jax.tree.map(np.testing.assert_array_equal, variables, before)
    assert set(tuned.backbone) == set(LAYERS)
    last = before["params"]["backbone"]["second"]
    assert jax.tree.map(np.shape, tuned.backbone["second"]) == jax.tree.map(np.shape, last)


def test_the_model_it_returns_is_the_one_it_scored(prepared, tune, monkeypatch):
    """With the batch statistics that there were: these have not changed."""
    model, variables, maps, _ = prepared
    everything = folds_lib.nothing_held_out(LABELS, ALONE, folds=3, seed=0)
    monkeypatch.setattr(finetuning, "EPOCHS", (20,))
    result = tune(everything, 0.01)
    assert result.epochs.tolist() == [20]
    before = variables["params"]["backbone"]
    moved = jax.tree.map(
        lambda a, b: np.abs(a - b).max(), result.backbone["second"], before["second"]
    )
    assert min(jax.tree.leaves(moved)) > 0.01
    tuned = variables | {"params": {"backbone": before | result.backbone}}
    # One by one: nobody is told apart by the company.
    logits = [
        np.mean(
            [
                finetuning.last_layers(model, LAYERS, tuned, jnp.asarray(view[i : i + 1]))[0]
                for view in maps
            ],
            axis=0,
        )
        @ result.kernel
        + result.bias
        for i in range(16)
    ]
    expected = scoring.softmax(np.array(logits) / result.temperature)
    np.testing.assert_allclose(result.probabilities[0], expected, atol=1e-4)


def test_more_steps_fit_what_is_learned_from_better(tune, monkeypatch):
    everything = folds_lib.nothing_held_out(LABELS, ALONE, folds=3, seed=0)
    losses = []
    for epochs in (0, 5, 20):
        monkeypatch.setattr(finetuning, "EPOCHS", (epochs,))
        monkeypatch.setattr(nested_cv, "TEMPERATURES", np.ones(1, np.float32))
        probabilities = tune(everything, 0.003).probabilities[0]
        losses.append(-np.log(probabilities[np.arange(16), LABELS]).mean())
    assert losses[0] > losses[1] > losses[2]


def test_labels_of_photos_held_out_have_no_say(tune):
    folds = three_folds()
    changed = LABELS.copy()
    changed[np.flatnonzero(folds.test[1])[0]] ^= 1
    first, other = tune(folds, 0.01), tune(folds, 0.01, changed)
    assert first.epochs[1] == other.epochs[1]
    assert first.temperature[1] == other.temperature[1]
    np.testing.assert_allclose(first.probabilities[1], other.probabilities[1], atol=1e-4)
    assert np.abs(first.probabilities[0] - other.probabilities[0]).max() > 1e-3
