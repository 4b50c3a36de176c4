"""Parameter counts, odd sizes, widths and dtypes of the models."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifsel.models import classifier

# keras.applications: count_params() with the 1000-class top, and without it.
KERAS_COUNTS = {
    "efficientnetv2-b0": (7_200_312, 5_919_312),
    "efficientnetv2-b1": (8_212_124, 6_931_124),
    "efficientnetv2-b2": (10_178_374, 8_769_374),
    "efficientnetv2-b3": (14_467_622, 12_930_622),
    "efficientnetv2-s": (21_612_360, 20_331_360),
    "efficientnetv2-m": (54_431_388, 53_150_388),
    "efficientnetv2-l": (119_027_848, 117_746_848),
}
MOBILENET_COUNTS = {
    0.25: (475_544, 218_544),
    0.5: (1_342_536, 829_536),
    0.75: (2_601_976, 1_832_976),
    1.0: (4_253_864, 3_228_864),
}
SMALL = ("mobilenet", "efficientnetv2-mini")


def build(model: str, **kwargs: Any) -> classifier.Classifier:
    if model == "mobilenet":
        kwargs.setdefault("alpha", 0.25)
    return classifier.build(model, num_classes=7, **kwargs)


def variables_of(built: classifier.Classifier, size: int = 32) -> Any:
    return jax.jit(built.init)(jax.random.key(0), jnp.zeros((1, size, size, 3)))


def counts(model: str, alpha: float = 1.0) -> tuple[int, int]:
    built = classifier.build(model, num_classes=1000, alpha=alpha)
    shapes = jax.eval_shape(built.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    total = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    return total, total - sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]["head"]))


@pytest.mark.parametrize("model", KERAS_COUNTS)
def test_efficientnet_has_as_many_parameters_as_keras(model: str) -> None:
    assert counts(model) == KERAS_COUNTS[model]


@pytest.mark.parametrize("alpha", MOBILENET_COUNTS)
def test_mobilenet_has_as_many_parameters_as_keras(alpha: float) -> None:
    assert counts("mobilenet", alpha) == MOBILENET_COUNTS[alpha]


def test_every_model_name_is_counted_or_ours() -> None:
    assert set(classifier.MODELS) == {"mobilenet", "efficientnetv2-mini", *KERAS_COUNTS}


def test_unknown_model_is_refused() -> None:
    with pytest.raises(ValueError, match="resnet50.*mobilenet.*efficientnetv2-b0"):
        classifier.build("resnet50", num_classes=7)


@pytest.mark.parametrize("alpha", [0.1, 0.35, 1.3, 2.0])
def test_any_alpha(alpha: float) -> None:
    built = build("mobilenet", alpha=alpha)
    variables = jax.eval_shape(built.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    kernel = variables["params"]["backbone"]["block13"]["pointwise"]["kernel"]
    assert kernel.shape[-2:] == (int(1024 * alpha),) * 2
    shape = jax.eval_shape(built.apply, variables, jnp.zeros((2, 64, 64, 3))).shape
    assert shape == (2, 7)


@pytest.mark.parametrize("model", SMALL)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 64), (45, 61), (97, 111), (225, 31)])
def test_any_size(model: str, height: int, width: int) -> None:
    built = build(model)
    images = jnp.zeros((2, height, width, 3), jnp.uint8)
    variables = jax.eval_shape(built.init, jax.random.key(0), images)
    maps = jax.eval_shape(lambda v, x: built.apply(v, x, method="feature_map"), variables, images)

    def positions(n: int) -> int:
        # Keras's arithmetic: the stem rounds up, MobileNet's one-sided padding then rounds down.
        if model == "mobilenet":
            return -(-n // 2) // 2 // 2 // 2 // 2
        return -(-n // 16)

    assert maps.shape[:3] == (2, positions(height), positions(width))
    assert jax.eval_shape(built.apply, variables, images).shape == (2, 7)


@pytest.mark.parametrize("model", SMALL)
def test_variables_fit_every_size(model: str) -> None:
    built = build(model)
    trees = [
        jax.eval_shape(built.init, jax.random.key(0), jnp.zeros((1, size, size, 3)))
        for size in (32, 97)
    ]
    assert jax.tree.map(lambda a: a.shape, trees[0]) == jax.tree.map(lambda a: a.shape, trees[1])


@pytest.mark.parametrize("model", SMALL)
def test_uint8_and_float_images_are_the_same_images(model: str) -> None:
    built = build(model)
    variables = variables_of(built)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    apply = jax.jit(built.apply)
    np.testing.assert_array_equal(
        apply(variables, images), apply(variables, images.astype(np.float32))
    )


@pytest.mark.parametrize("model", SMALL)
def test_bfloat16_is_for_activations_only(model: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 33, 33, 3), np.uint8)
    half, full = build(model, dtype=jnp.bfloat16), build(model)
    variables = variables_of(half)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}

    def step(built: classifier.Classifier) -> Any:
        run = jax.jit(lambda v, x: built.apply(v, x, train=True, mutable=["batch_stats"]))
        return run(variables, images)

    maps = jax.eval_shape(lambda v, x: half.apply(v, x, method="feature_map"), variables, images)
    assert maps.dtype == jnp.bfloat16
    (logits, updated), (exact, exact_updated) = step(half), step(full)
    assert logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(updated)} == {jnp.dtype(jnp.float32)}
    # bfloat16 keeps 8 bits: close, and not the same.
    error = np.abs(logits - exact).max() / np.abs(exact).max()
    assert 0 < error < 0.2
    stem, exact_stem = (u["batch_stats"]["backbone"]["stem"] for u in (updated, exact_updated))
    np.testing.assert_allclose(
        stem["conv_bn"]["var"], exact_stem["conv_bn"]["var"], rtol=0.02, atol=1e-3
    )


@pytest.mark.parametrize("model", SMALL)
def test_frozen_batch_norm_trains_as_it_evaluates(model: str) -> None:
    built = build(model)
    variables = variables_of(built)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)

    @jax.jit
    def run(v: Any, x: Any) -> Any:
        frozen = built.apply(v, x, train=True, frozen_bn=True, mutable=["batch_stats"])
        return frozen, built.apply(v, x), built.apply(v, x, train=True, mutable=["batch_stats"])

    (frozen, kept), evaluated, (trained, moved) = run(variables, images)
    np.testing.assert_allclose(frozen, evaluated, atol=1e-6)
    for before, after in zip(
        jax.tree.leaves(variables["batch_stats"]), jax.tree.leaves(kept), strict=True
    ):
        np.testing.assert_array_equal(before, after)
    assert np.abs(trained - evaluated).max() > 1e-3
    var = moved["batch_stats"]["backbone"]["stem"]["conv_bn"]["var"]
    assert np.abs(var - variables["batch_stats"]["backbone"]["stem"]["conv_bn"]["var"]).max() > 0


@pytest.mark.parametrize("model", SMALL)
def test_images_of_a_batch_do_not_touch_each_other(model: str) -> None:
    built = build(model)
    variables = variables_of(built)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    apply = jax.jit(built.apply)
    reversed_logits = apply(variables, images[::-1].copy())
    np.testing.assert_allclose(apply(variables, images)[::-1], reversed_logits, atol=1e-5)
    assert np.ptp(np.asarray(reversed_logits), axis=0).max() > 1e-3
