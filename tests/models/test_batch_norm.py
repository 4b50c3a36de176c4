"""Batch norm is Flax's, with gradients of its own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from cifsel.models import batch_norm

MOMENTUM, EPSILON = 0.9, 1e-3


def some_variables(channels, rng):
    params = {"scale": rng.normal(size=channels), "bias": rng.normal(size=channels)}
    stats = {"mean": rng.normal(size=channels), "var": rng.uniform(0.1, 2, channels)}
    both = {"params": params, "batch_stats": stats}
    return jax.device_put(jax.tree.map(np.float32, both))


@functools.partial(jax.jit, static_argnums=0)
def everything(norm, variables, x, weights):
    """Output, new statistics, and the gradients of a weighted sum of sines of the output."""

    def loss(params, x):
        given = variables | {"params": params}
        y, new = norm.apply(given, x, mutable=["batch_stats"])
        return (weights * jnp.sin(y.astype(jnp.float32))).sum(), (y, new)

    grads, (y, new) = jax.grad(loss, (0, 1), has_aux=True)(variables["params"], x)
    return y, new, grads


OURS = batch_norm.BatchNorm(EPSILON, MOMENTUM)
FLAX = nn.BatchNorm(use_running_average=False, momentum=MOMENTUM, epsilon=EPSILON)


@settings(max_examples=10, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3, st.integers(1, 9)),
    mean=st.sampled_from([0.0, 3.0]),
    seed=st.integers(0, 2**16),
)
@pytest.mark.slow
def test_it_is_flaxs_with_its_gradients(shape, mean, seed):
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(mean, 1, shape), jnp.float32)
    weights = jnp.asarray(rng.normal(size=shape), jnp.float32)
    variables = some_variables(shape[-1], rng)
    actual, expected = (everything(norm, variables, x, weights) for norm in (OURS, FLAX))
    # Where all of a channel is one number, its gradients are what rounding leaves.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4), actual, expected
    )


class FlaxAndSilu(nn.Module):
    """Flax's batch norm with SiLU behind it."""

    @nn.compact
    def __call__(self, x):
        options = {"momentum": MOMENTUM, "epsilon": EPSILON}
        return nn.silu(nn.BatchNorm(use_running_average=False, name="norm", **options)(x))


class OursAndSilu(nn.Module):
    """The same in one."""

    @nn.compact
    def __call__(self, x):
        return batch_norm.BatchNorm(EPSILON, MOMENTUM, name="norm")(x, activate=True)


def test_with_silu_it_is_flaxs_with_silu_behind_it():
    rng = np.random.default_rng(0)
    x, weights = jnp.asarray(rng.normal(3, 2, (2, 4, 3, 5, 7)), jnp.float32)
    variables = {part: {"norm": of} for part, of in some_variables(7, rng).items()}
    actual, expected = (everything(m(), variables, x, weights) for m in (OursAndSilu, FlaxAndSilu))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), actual, expected
    )


@pytest.mark.parametrize("activate", [False, True])
def test_gradients_are_those_of_small_changes(activate):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(1, 2, (4, 3, 3, 2)), jnp.float32)
    scale, bias = (jnp.asarray(rng.normal(size=2), jnp.float32) for _ in range(2))

    @jax.jit
    def function(x, scale, bias):
        return jnp.sin(batch_norm.normalise(x, scale, bias, EPSILON, activate)[0])

    check_grads(function, (x, scale, bias), order=1, modes=["rev"], rtol=1e-2)


def test_statistics_are_float32_with_narrow_activations():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(2, 1, (4, 8, 8, 3)), jnp.bfloat16)
    weights, variables = jnp.ones(x.shape), some_variables(3, rng)
    y, new, grads = everything(OURS, variables, x, weights)
    assert y.dtype == grads[1].dtype == jnp.bfloat16
    wide = everything(OURS, variables, x.astype(jnp.float32), weights)
    assert {leaf.dtype for leaf in jax.tree.leaves((new, grads[0]))} == {jnp.dtype("float32")}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), new, wide[1])
    np.testing.assert_allclose(y.astype(jnp.float32), wide[0], rtol=1e-2, atol=1e-2)


def test_statistics_pass_no_gradient_on():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 3, 4)), jnp.float32)

    def of_statistics(x):
        mean, var = batch_norm.normalise(x, jnp.ones(4), jnp.zeros(4), EPSILON, False)[1]
        return (mean + var).sum()

    np.testing.assert_array_equal(jax.grad(of_statistics)(x), np.zeros(x.shape))


def test_a_fixed_norm_is_the_batch_norm_that_it_replaces():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 3, 3, 4)), jnp.float32)
    variables = {
        "params": {"scale": rng.normal(size=4), "bias": rng.normal(size=4)},
        "batch_stats": {"mean": rng.normal(size=4), "var": rng.uniform(0.1, 2, 4)},
    }
    scale, bias = batch_norm.FixedNorm(1e-3).apply(variables, 4)
    expected = nn.BatchNorm(use_running_average=True, epsilon=1e-3).apply(variables, x)
    along = (None, None, None)
    np.testing.assert_allclose(x * scale[along] + bias[along], expected, rtol=1e-5, atol=1e-5)
