"""Parameter counts, odd sizes, widths and dtypes of the models."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_model import made_up_variables

from cifsel.models import classifier, layers, mobilenet

# keras.applications: count_params() with the 1000-class top, and without it. Others are compared
# with Keras's tensor by tensor, in test_parity.py.
KERAS_COUNTS = {
    "efficientnetv2-b3": (14_467_622, 12_930_622),
    "efficientnetv2-s": (21_612_360, 20_331_360),
    "efficientnetv2-l": (119_027_848, 117_746_848),
}
MOBILENET_COUNTS = {
    0.25: (475_544, 218_544),
    0.5: (1_342_536, 829_536),
    0.75: (2_601_976, 1_832_976),
    1.0: (4_253_864, 3_228_864),
}
# Model -> pixels per position of its feature map; those that take long to compile apart.
SMALL = {"mobilenet": 32, "efficientnetv2-mini": 16}


@pytest.fixture
def shapes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing is quicker without random numbers and without the forms of layers for CPUs."""
    for initializer in ("conv_init", "depthwise_init"):
        monkeypatch.setattr(layers, initializer, jax.nn.initializers.zeros)

    def on_others(*arguments: Any, cpu: Any, default: Any) -> Any:
        return default(*arguments)

    monkeypatch.setattr(jax.lax, "platform_dependent", on_others)


@pytest.fixture
def few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of MobileNet's blocks, which compile in seconds, enough to have both strides twice."""
    monkeypatch.setattr(mobilenet, "BLOCKS", mobilenet.BLOCKS[:4])


def build(model: str, **kwargs: Any) -> classifier.Classifier:
    if model == "mobilenet":
        kwargs.setdefault("alpha", 0.25)
    return classifier.build(model, num_classes=7, **kwargs)


@functools.cache
def shapes_of(model: str) -> Any:
    return jax.eval_shape(build(model).init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))


@functools.cache
def variables_of(model: str) -> Any:
    return made_up_variables(build(model), 32)


@functools.cache
def evaluate(model: str, dtype: Any = jnp.float32) -> Any:
    return jax.jit(build(model, dtype=dtype).apply)


def images() -> np.ndarray:
    """Four images of different tints."""
    rng = np.random.default_rng(0)
    tints = rng.uniform(0, 200, (4, 1, 1, 3))
    return (tints + rng.uniform(0, 55, (4, 33, 33, 3))).astype(np.uint8)


def counts(model: str, alpha: float = 1.0) -> tuple[int, int]:
    built = classifier.build(model, num_classes=1000, alpha=alpha)
    shapes = jax.eval_shape(built.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    total = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    return total, total - sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]["head"]))


@pytest.mark.usefixtures("shapes_alone")
@pytest.mark.parametrize("model", KERAS_COUNTS)
@pytest.mark.slow
def test_efficientnet_has_as_many_parameters_as_keras(model: str) -> None:
    assert counts(model) == KERAS_COUNTS[model]


@pytest.mark.usefixtures("shapes_alone")
@pytest.mark.parametrize("alpha", MOBILENET_COUNTS)
def test_mobilenet_has_as_many_parameters_as_keras(alpha: float) -> None:
    assert counts("mobilenet", alpha) == MOBILENET_COUNTS[alpha]


@pytest.mark.parametrize(("pool", "hidden"), [("average", 0), ("flatten", 0), ("average", 7)])
def test_initial_head_is_that_of_all_initial_variables(
    build_tiny: Any, pool: str, hidden: int
) -> None:
    model, key = build_tiny(pool=pool, hidden=hidden), jax.random.key(4)
    whole = jax.jit(functools.partial(classifier.initial, model, 32))(key)
    head = classifier.initial_head(model, whole, key)
    jax.tree.map(np.testing.assert_array_equal, head, whole["params"]["head"])


def test_unknown_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"resnet50.*mobilenet.*efficientnetv2-b0"):
        classifier.build("resnet50", num_classes=7)


@pytest.mark.usefixtures("shapes_alone")
@pytest.mark.parametrize("alpha", [0.1, 1.3])
@pytest.mark.slow
def test_any_alpha(alpha: float) -> None:
    built = build("mobilenet", alpha=alpha)
    variables = jax.eval_shape(built.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    kernel = variables["params"]["backbone"]["block13"]["pointwise"]["kernel"]
    assert kernel.shape[-2:] == (int(1024 * alpha),) * 2
    shape = jax.eval_shape(built.apply, variables, jnp.zeros((2, 64, 64, 3))).shape
    assert shape == (2, 7)


@pytest.mark.usefixtures("shapes_alone")
@pytest.mark.parametrize("model", SMALL)
@pytest.mark.parametrize(("height", "width"), [(33, 64), (225, 31)])
@pytest.mark.slow
def test_any_size(model: str, height: int, width: int) -> None:
    built, shape = build(model), (2, height, width, 3)
    maps = jax.eval_shape(
        functools.partial(built.apply, method="feature_map"),
        shapes_of(model),  # Of another size, which must not matter.
        jax.ShapeDtypeStruct(shape, jnp.uint8),
    )

    def positions(n: int) -> int:
        # Keras's arithmetic: the stem rounds up, MobileNet's one-sided padding then rounds down.
        return -(-n // 2) // 16 if model == "mobilenet" else -(-n // SMALL[model])

    assert maps.shape[:3] == (2, positions(height), positions(width))


@pytest.mark.parametrize("model", ["mobilenet", "efficientnetv2-mini", "efficientnetv2-s"])
def test_uint8_and_float_images_are_the_same_images(model: str) -> None:
    whole, real = (
        classifier.preprocess(jnp.asarray(images(), dtype), model)
        for dtype in (jnp.uint8, jnp.float32)
    )
    assert whole.dtype == real.dtype == jnp.float32
    np.testing.assert_array_equal(whole, real)
    assert np.ptp(whole) > 1


@pytest.mark.usefixtures("few_blocks")
@pytest.mark.parametrize("model", SMALL)
@pytest.mark.slow
def test_images_of_a_batch_do_not_touch_each_other(model: str) -> None:
    logits = evaluate(model)(variables_of(model), images())
    backwards = evaluate(model)(variables_of(model), images()[::-1].copy())
    np.testing.assert_allclose(logits, backwards[::-1], atol=1e-4)
    assert np.ptp(logits, axis=0).max() > 0.01


@pytest.mark.usefixtures("few_blocks")
@pytest.mark.parametrize("model", SMALL)
@pytest.mark.slow
def test_bfloat16_is_for_activations_only(model: str) -> None:
    half, variables = build(model, dtype=jnp.bfloat16), variables_of(model)

    def shapes(method: str, **kwargs: Any) -> Any:
        run = functools.partial(half.apply, method=method, **kwargs)
        return jax.eval_shape(run, variables, images())

    float32 = {jnp.dtype(jnp.float32)}
    initial = jax.eval_shape(half.init, jax.random.key(0), images())
    assert {leaf.dtype for leaf in jax.tree.leaves(initial)} == float32
    updated = shapes("__call__", train=True, mutable=["batch_stats"])
    assert {leaf.dtype for leaf in jax.tree.leaves(updated)} == float32
    assert shapes("feature_map").dtype == jnp.bfloat16
    assert shapes("features").dtype == jnp.float32
    exact = np.asarray(evaluate(model)(variables, images()))
    error = np.abs(evaluate(model, jnp.bfloat16)(variables, images()) - exact).max()
    # bfloat16 keeps 8 bits: close, and not the same.
    assert 0 < error < 0.1 * np.abs(exact).max()


@pytest.mark.usefixtures("few_blocks")
@pytest.mark.parametrize("model", SMALL)
@pytest.mark.slow
def test_frozen_batch_norm_trains_as_it_evaluates(model: str) -> None:
    built, variables = build(model), variables_of(model)

    @jax.jit
    def train(v: Any, x: Any) -> Any:
        return [
            built.apply(v, x, train=True, frozen_bn=frozen, mutable=["batch_stats"])
            for frozen in (True, False)
        ]

    (frozen, kept), (trained, moved) = train(variables, images())
    evaluated = evaluate(model)(variables, images())
    np.testing.assert_allclose(frozen, evaluated, rtol=1e-4, atol=1e-4)
    assert np.abs(trained - evaluated).max() > 0.01
    before = jax.tree.leaves(variables["batch_stats"])
    for old, same, new in zip(before, jax.tree.leaves(kept), jax.tree.leaves(moved), strict=True):
        np.testing.assert_array_equal(old, same)
        assert np.abs(new - old).max() > 0
