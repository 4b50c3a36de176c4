"""Batch norm (Ioffe and Szegedy 2015, arXiv:1502.03167), by the batch and by running statistics.

Both modules have the variables of nn.BatchNorm, so that each reads what the others have written.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cifsel.models.cpu import silu

Array = jax.Array
_POSITIONS = (0, 1, 2)  # axes of (B, H, W, C) that statistics are taken over


class FixedNorm(nn.Module):
    """Batch norm by its running statistics, as the affine map of each channel that it then is.

    Attributes:
      epsilon: added to the variance.
    """

    epsilon: float

    @nn.compact
    def __call__(self, features: int) -> tuple[Array, Array]:
        """Returns scale and bias, (features,) float32 each: the norm of x is x * scale + bias."""
        scale, bias, mean, var = _variables(self, features)
        scale = scale * jax.lax.rsqrt(var.value + self.epsilon)
        return scale, bias - mean.value * scale


class BatchNorm(nn.Module):
    """Batch norm by the statistics of the batch, which the running ones are moved towards.

    Attributes:
      epsilon: added to the variance.
      momentum: what is kept of the running statistics at each update.
    """

    epsilon: float
    momentum: float

    @nn.compact
    def __call__(self, x: Array, activate: bool = False) -> Array:
        """(B, H, W, C) -> (B, H, W, C) of x's dtype, SiLU of that if asked; float32 statistics."""
        scale, bias, *running = _variables(self, x.shape[-1])
        if activate:
            y, statistics = jax.lax.platform_dependent(
                x, scale, bias, cpu=self._activated_on_cpu, default=self._activated
            )
        else:
            y, statistics = normalise(x, scale, bias, self.epsilon, False)
        if not self.is_initializing():
            for variable, new in zip(running, statistics, strict=True):
                variable.value = self.momentum * variable.value + (1 - self.momentum) * new
        return y

    def _activated_on_cpu(
        self, x: Array, scale: Array, bias: Array
    ) -> tuple[Array, tuple[Array, Array]]:
        return normalise(x, scale, bias, self.epsilon, True)

    def _activated(self, x: Array, scale: Array, bias: Array) -> tuple[Array, tuple[Array, Array]]:
        y, statistics = normalise(x, scale, bias, self.epsilon, False)
        return nn.silu(y), statistics


def _variables(module: nn.Module, features: int) -> tuple[Array, Array, Any, Any]:
    ones, zeros = nn.initializers.ones, nn.initializers.zeros
    return (
        module.param("scale", ones, (features,), jnp.float32),
        module.param("bias", zeros, (features,), jnp.float32),
        module.variable("batch_stats", "mean", jnp.zeros, (features,), jnp.float32),
        module.variable("batch_stats", "var", jnp.ones, (features,), jnp.float32),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def normalise(
    x: Array, scale: Array, bias: Array, epsilon: float, activate: bool
) -> tuple[Array, tuple[Array, Array]]:
    """Each channel to mean `bias` and standard deviation `scale`, over the batch and positions.

    Args:
      x: (B, H, W, C), of any float dtype.
      scale: (C,) float32.
      bias: (C,) float32.
      epsilon: added to the variance.
      activate: apply SiLU, in the form for CPUs.

    Returns:
      (B, H, W, C) of x's dtype, and the mean and the variance (C,) float32, which pass no gradient
      on.
    """
    return _forward(x, scale, bias, epsilon, activate)[0]


def _forward(
    x: Array, scale: Array, bias: Array, epsilon: float, activate: bool
) -> tuple[tuple[Array, tuple[Array, Array]], tuple[Array, ...]]:
    wide = x.astype(jnp.float32)
    mean = wide.mean(_POSITIONS)
    # Not from the differences to the mean, which would be one more pass over x.
    var = jnp.maximum(jnp.square(wide).mean(_POSITIONS) - jnp.square(mean), 0.0)
    inverse = jax.lax.rsqrt(var + epsilon)
    slope = scale * inverse
    shift = bias - mean * slope
    y = wide * slope + shift
    y = (silu.silu(y) if activate else y).astype(x.dtype)
    return (y, (mean, var)), (x, mean, inverse, slope, shift)


def _backward(
    epsilon: float,
    activate: bool,
    saved: tuple[Array, ...],
    grads: tuple[Array, tuple[Array, Array]],
) -> tuple[Array, Array, Array]:
    """Two sums and one map over the activations; autodiff takes four sums (the paper's page 4)."""
    del epsilon
    x, mean, inverse, slope, shift = saved
    if activate:
        x = jax.lax.optimization_barrier(x)  # See silu.
    wide, grad = x.astype(jnp.float32), grads[0].astype(jnp.float32)
    if activate:
        grad *= silu.slope(wide * slope + shift)
    of_bias = grad.sum(_POSITIONS)
    # Not with wide - mean inside, which XLA's CPU backend would write to memory for the sum.
    of_scale = ((grad * wide).sum(_POSITIONS) - mean * of_bias) * inverse
    count = x.size // x.shape[-1]
    # Of x: slope * (grad - mean of grad - normalised x * mean of grad * normalised x).
    along = -slope * inverse * of_scale / count
    of_x = slope * grad + along * (wide - mean) - slope * of_bias / count
    return of_x.astype(x.dtype), of_scale, of_bias


normalise.defvjp(_forward, _backward)
