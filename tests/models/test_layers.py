"""The two forms of each convolution are one function; drop path drops whole examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from cifsel.models import layers
from cifsel.models.cpu import dense, depthwise


def agree(forms, x, kernel, *rest):
    """Outputs and both gradients, to float32 rounding."""

    @jax.jit  # Otherwise each operation of each form would be compiled by itself.
    def all_of_them(x, kernel):
        results = []
        for form in forms:
            y, vjp = jax.vjp(lambda x, kernel, form=form: form(x, kernel, *rest), x, kernel)
            results.append((y, *vjp(jnp.cos(y))))
        return results

    for ours, xla in zip(*all_of_them(x, kernel), strict=True):
        np.testing.assert_allclose(ours, xla, rtol=1e-5, atol=2e-5)


@settings(max_examples=8, deadline=None)
@given(
    shape=st.tuples(st.just(2), st.integers(3, 18), st.integers(3, 18), st.integers(1, 6)),
    stride=st.sampled_from([1, 2, 3]),
    padding=st.sampled_from([None, ((0, 1), (0, 1)), ((0, 0), (0, 0)), ((1, 0), (2, 1))]),
    seed=st.integers(0, 2**16),
)
@pytest.mark.slow
def test_both_forms_agree_with_their_gradients(shape, stride, padding, seed):
    padding = padding or layers.same_padding(shape[1], shape[2], 3, stride)
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(size=shape), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 1, shape[-1])), jnp.float32)

    agree([depthwise.depthwise_conv, layers.grouped_conv], x, kernel, stride, padding)


@settings(max_examples=8, deadline=None)
@given(
    shape=st.tuples(st.just(2), st.integers(3, 11), st.integers(3, 11), st.integers(1, 6)),
    features=st.integers(1, 9),
    stride=st.sampled_from([1, 2]),
    padding=st.sampled_from([None, ((0, 1), (0, 1)), ((0, 0), (0, 0)), ((1, 0), (2, 1))]),
    seed=st.integers(0, 2**16),
)
@pytest.mark.slow
def test_both_forms_of_the_dense_convolution_agree(shape, features, stride, padding, seed):
    padding = padding or layers.same_padding(shape[1], shape[2], 3, stride)
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(size=shape), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, shape[-1], features)), jnp.float32)
    agree([dense.dense_conv, dense.xla_conv], x, kernel, stride, padding)


@settings(max_examples=8, deadline=None)
@given(
    rows=st.integers(1, 40),
    channels=st.integers(1, 9),
    features=st.integers(1, 9),
    seed=st.integers(0, 2**16),
)
def test_both_forms_of_the_matrix_product_agree(rows, channels, features, seed):
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(size=(rows, channels)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(channels, features)), jnp.float32)
    agree([dense.matmul, jnp.dot], x, kernel)


def test_depthwise_is_a_correlation_of_each_channel():
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(1, 7, 9, 2)), rng.normal(size=(3, 3, 1, 2))
    y = layers.depthwise_conv(
        jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32), 2, ((0, 0), (0, 0))
    )
    for c in range(2):
        expected = signal.correlate2d(x[0, :, :, c], kernel[:, :, 0, c], mode="valid")[::2, ::2]
        np.testing.assert_allclose(y[0, :, :, c], expected, rtol=1e-4, atol=1e-5)


def test_the_form_follows_the_platform_compiled_for():
    def lowered(platform):
        x = jax.ShapeDtypeStruct((1, 8, 8, 4), jnp.float32)
        kernel = jax.ShapeDtypeStruct((3, 3, 1, 4), jnp.float32)
        padding = layers.same_padding(8, 8, 3, 1)
        f = jax.jit(lambda x, k: layers.depthwise_conv(x, k, 1, padding))
        return f.trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()

    assert "feature_group_count = 4" not in lowered("cpu")
    assert "feature_group_count = 4" in lowered("tpu")
    assert "feature_group_count = 4" in lowered("cuda")


@pytest.mark.parametrize(("size", "stride"), [(5, 2), (6, 2), (7, 1), (4, 3)])
def test_same_padding_gives_tensorflows_output_size(size, stride):
    (low, high), _ = layers.same_padding(size, size, 3, stride)
    assert (size + low + high - 3) // stride + 1 == -(-size // stride)
    assert high - low in (0, 1)


def test_drop_path_drops_whole_examples_and_keeps_the_mean():
    x = jnp.ones((4000, 2, 2, 3))
    drop = layers.DropPath(0.25)
    y = drop.apply({}, x, train=True, rngs={"dropout": jax.random.key(0)})
    kept = np.asarray(y).reshape(len(x), -1)
    np.testing.assert_allclose(np.unique(kept), [0.0, 1 / 0.75], rtol=1e-6)
    assert (kept == kept[:, :1]).all()
    assert abs((kept[:, 0] == 0).mean() - 0.25) < 0.03
    np.testing.assert_array_equal(drop.apply({}, x, train=False), x)
