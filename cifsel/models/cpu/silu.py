"""SiLU (Elfwing et al. 2017, arXiv:1702.03118), x * sigmoid(x), in the form that a CPU runs fast.

Autodiff keeps the sigmoids of all activations for the backward pass, and to write and read them
takes longer than to compute them again. And XLA's CPU backend takes three times as long for a
sigmoid as for the hyperbolic tangent that it can be made of.
"""

import jax
import jax.numpy as jnp

Array = jax.Array


def silu(x: Array) -> Array:
    """SiLU of x, of any shape and float dtype."""
    wide = x.astype(jnp.float32)
    return (wide * _sigmoid(wide)).astype(x.dtype)


def slope(x: Array) -> Array:
    """The derivative of `silu` at x, of any shape, float32."""
    gate = _sigmoid(x)
    return gate * (1 + x * (1 - gate))


@jax.custom_vjp
def biased_silu(x: Array, bias: Array) -> Array:
    """silu(x + bias), (B, H, W, C) and (C,) -> (B, H, W, C), for a CPU."""
    return silu(x + bias)


def _forward(x: Array, bias: Array) -> tuple[Array, tuple[Array, Array]]:
    return biased_silu(x, bias), (x, bias)


def _backward(saved: tuple[Array, Array], grads: Array) -> tuple[Array, Array]:
    x, bias = saved
    # Without the barrier, XLA sees that the sigmoid is the forward pass's, and keeps that.
    wide = (jax.lax.optimization_barrier(x) + bias).astype(jnp.float32)
    of_x = grads.astype(jnp.float32) * slope(wide)
    return of_x.astype(x.dtype), of_x.sum((0, 1, 2)).astype(bias.dtype)


biased_silu.defvjp(_forward, _backward)


def _sigmoid(x: Array) -> Array:
    return 0.5 + 0.5 * jnp.tanh(0.5 * x)
