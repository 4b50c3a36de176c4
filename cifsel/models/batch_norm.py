"""Batch norm (Ioffe and Szegedy 2015, arXiv:1502.03167), by the batch and by running statistics.

Both modules have the variables of nn.BatchNorm. Variables that one of them wrote fit the others.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Float32

from cifsel.models.cpu import silu

_POSITIONS = (0, 1, 2)  # axes of (B, H, W, C) that statistics are taken over

MeanAndVariance = tuple[Float32[Array, " c"], Float32[Array, " c"]]


class FixedNorm(nn.Module):
    """Batch norm by its running statistics, which is an affine map of each channel.

    Attributes:
      epsilon: added to the variance.
    """

    epsilon: float

    @nn.compact
    def __call__(
        self, features: int
    ) -> tuple[Float32[Array, " {features}"], Float32[Array, " {features}"]]:
        """Returns scale and bias. The normalised x is x * scale + bias."""
        scale, bias, mean, var = _variables(self, features)
        scale = scale * jax.lax.rsqrt(var.value + self.epsilon)
        return scale, bias - mean.value * scale


class BatchNorm(nn.Module):
    """Batch norm by the statistics of the batch. The running ones are moved towards them.

    Attributes:
      epsilon: added to the variance.
      momentum: share of the running statistics that each update keeps.
    """

    epsilon: float
    momentum: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], activate: bool = False
    ) -> Float[Array, "b h w c"]:
        """Normalises x, with float32 statistics, and applies SiLU if asked. Keeps x's dtype."""
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
        self, x: Float[Array, "b h w c"], scale: Float32[Array, " c"], bias: Float32[Array, " c"]
    ) -> tuple[Float[Array, "b h w c"], MeanAndVariance]:
        return normalise(x, scale, bias, self.epsilon, True)

    def _activated(
        self, x: Float[Array, "b h w c"], scale: Float32[Array, " c"], bias: Float32[Array, " c"]
    ) -> tuple[Float[Array, "b h w c"], MeanAndVariance]:
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
    x: Float[Array, "b h w c"],
    scale: Float32[Array, " c"],
    bias: Float32[Array, " c"],
    epsilon: float,
    activate: bool,
) -> tuple[Float[Array, "b h w c"], MeanAndVariance]:
    """Gives each channel mean `bias` and standard deviation `scale`, over batch and positions.

    Args:
      x: of any float dtype.
      scale: of each channel.
      bias: of each channel.
      epsilon: added to the variance.
      activate: apply SiLU, in the form for CPUs.

    Returns:
      The result in x's dtype, and mean and variance, which pass no gradient on.
    """
    return _forward(x, scale, bias, epsilon, activate)[0]


def _along_channels(values: Float32[Array, " c"]) -> Float32[Array, "1 1 1 c"]:
    return values[None, None, None]


def _forward(
    x: Float[Array, "b h w c"],
    scale: Float32[Array, " c"],
    bias: Float32[Array, " c"],
    epsilon: float,
    activate: bool,
) -> tuple[tuple[Float[Array, "b h w c"], MeanAndVariance], tuple[Array, ...]]:
    wide = x.astype(jnp.float32)
    mean = wide.mean(_POSITIONS)
    # The differences to the mean would take one more pass over x.
    var = jnp.maximum(jnp.square(wide).mean(_POSITIONS) - jnp.square(mean), 0.0)
    inverse = jax.lax.rsqrt(var + epsilon)
    slope = scale * inverse
    shift = bias - mean * slope
    y = wide * _along_channels(slope) + _along_channels(shift)
    y = (silu.silu(y) if activate else y).astype(x.dtype)
    return (y, (mean, var)), (x, mean, inverse, slope, shift)


def _backward(
    epsilon: float,
    activate: bool,
    saved: tuple[Array, ...],
    grads: tuple[Float[Array, "b h w c"], MeanAndVariance],
) -> tuple[Float[Array, "b h w c"], Float32[Array, " c"], Float32[Array, " c"]]:
    """Takes two sums and one map over the activations. Autodiff takes four sums (paper, page 4)."""
    del epsilon
    x, mean, inverse, slope, shift = saved
    if activate:
        # Without the barrier, XLA keeps the forward pass's sigmoids, as in `silu.biased_silu`.
        x = jax.lax.optimization_barrier(x)
    wide, grad = x.astype(jnp.float32), grads[0].astype(jnp.float32)
    if activate:
        grad *= silu.slope(wide * _along_channels(slope) + _along_channels(shift))
    of_bias = grad.sum(_POSITIONS)
    # XLA's CPU backend would write wide - mean, inside the sum, to memory.
    of_scale = ((grad * wide).sum(_POSITIONS) - mean * of_bias) * inverse
    count = x.size // x.shape[-1]
    # Of x: slope * (grad - mean of grad - normalised x * mean of grad * normalised x).
    along = -slope * inverse * of_scale / count
    of_x = _along_channels(slope) * grad + _along_channels(along) * (wide - _along_channels(mean))
    of_x -= _along_channels(slope * of_bias / count)
    return of_x.astype(x.dtype), of_scale, of_bias


normalise.defvjp(_forward, _backward)
