"""SiLU for CPUs is JAX's, with its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from cifsel.models.cpu import silu

# Without the passes that other tests leave out, XLA's tanh is coarser.
pytestmark = pytest.mark.usefixtures("optimizing")


def test_it_is_jaxs_near_and_far():
    x = jnp.concatenate([jnp.linspace(-30, 30, 2001), jnp.asarray([-1e30, -200.0, 200.0, 1e30])])
    np.testing.assert_allclose(silu.silu(x), jax.nn.silu(x), rtol=2e-6, atol=2e-6)
    expected = jax.vmap(jax.grad(jax.nn.silu))(x)
    np.testing.assert_allclose(silu.slope(x)[:2001], expected[:2001], rtol=2e-6, atol=2e-6)
    np.testing.assert_array_equal(silu.slope(x)[2001:], [0, 0, 1, 1])


@settings(max_examples=8, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 5)] * 4), seed=st.integers(0, 2**16))
@pytest.mark.slow
def test_with_a_bias_its_gradients_are_autodiffs(shape, seed):
    rng = np.random.default_rng(seed)
    x, weights = jnp.asarray(rng.normal(0, 3, (2, *shape)), jnp.float32)
    bias = jnp.asarray(rng.normal(size=shape[-1]), jnp.float32)

    def gradients(of):
        return jax.jit(jax.value_and_grad(lambda x, bias: (weights * of(x, bias)).sum(), (0, 1)))

    ours = gradients(silu.biased_silu)(x, bias)
    autodiffs = gradients(lambda x, bias: jax.nn.silu(x + bias[None, None, None]))(x, bias)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), ours, autodiffs
    )


def test_gradients_are_those_of_small_changes():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 3, 4)), jnp.float32)
    compiled = jax.jit(silu.biased_silu)  # check_grads passes NumPy arrays.
    check_grads(compiled, (x, jnp.arange(4.0)), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


def test_half_precision_stays_half_precision():
    x, bias = (
        jnp.linspace(-4, 4, 16, dtype=jnp.bfloat16).reshape(1, 2, 2, 4),
        jnp.ones(4, jnp.bfloat16),
    )
    y, backward = jax.vjp(silu.biased_silu, x, bias)
    of_x, of_bias = backward(jnp.ones_like(y))
    assert {y.dtype, of_x.dtype, of_bias.dtype} == {jnp.dtype(jnp.bfloat16)}
    wide = (x + bias[None, None, None]).astype(jnp.float32)
    np.testing.assert_allclose(y.astype(jnp.float32), jax.nn.silu(wide), rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(of_x.astype(jnp.float32), silu.slope(wide), rtol=1e-2, atol=1e-2)


def test_the_backward_pass_keeps_no_sigmoids():
    def memory(of):
        x, bias = jnp.zeros((4, 64, 64, 32)), jnp.zeros(32)
        kept = jax.vjp(of, x, bias)[1]
        return sum(leaf.nbytes for leaf in jax.tree.leaves(kept)) / x.nbytes

    assert memory(silu.biased_silu) < 1.01
    assert memory(lambda x, bias: jax.nn.silu(x + bias[None, None, None])) > 1.99
