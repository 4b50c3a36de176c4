"""Convolutions and batch normalisation as both backbones use them.

A depthwise convolution has two forms here. XLA's grouped convolution is the right one on TPU and
GPU; on a CPU XLA runs it tens of times slower than the same sum written as one shifted
multiply-add per kernel position. The form is chosen by the platform that is compiled *for*, never
by the machine that compiles, and both agree to float32 rounding, gradients included.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

Array = jax.Array
Padding = tuple[tuple[int, int], tuple[int, int]]

# He et al. 2015, over the outputs of a kernel: what EfficientNet trains from scratch with.
conv_init = nn.initializers.variance_scaling(2.0, "fan_out", "truncated_normal")
# A depthwise kernel has one input per channel; fan-out would count all channels and start at zero.
depthwise_init = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")


def same_padding(height: int, width: int, kernel: int, stride: int) -> Padding:
    """TensorFlow's SAME padding: the output has ceil(size / stride) positions, extra goes last."""

    def one(size: int) -> tuple[int, int]:
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2

    return one(height), one(width)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise_conv(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    """Convolves every channel with its own kernel.

    Args:
      x: (B, H, W, C).
      kernel: (k, k, 1, C), of x's dtype.
      stride: of both axes, in pixels.
      padding: zeros before and after each spatial axis, in pixels.

    Returns:
      (B, H', W', C) with H' = (H + padding - k) // stride + 1, of x's dtype.
    """
    return jax.lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_shifted, stride=stride, padding=padding),
        default=functools.partial(_grouped, stride=stride, padding=padding),
    )


def _grouped(x: Array, kernel: Array, *, stride: int, padding: Padding) -> Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def _windows(x: Array, k: int, stride: int, padding: Padding) -> list[Array]:
    """The k * k strided views of padded x, each (B, H', W', C): one per kernel position."""
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    batch, height, width, channels = x.shape
    rows, columns = (height - k) // stride + 1, (width - k) // stride + 1
    return [
        jax.lax.slice(
            x,
            (0, i, j, 0),
            (batch, i + (rows - 1) * stride + 1, j + (columns - 1) * stride + 1, channels),
            (1, stride, stride, 1),
        )
        for i in range(k)
        for j in range(k)
    ]


def _multiply_add(windows: list[Array], kernel: Array) -> Array:
    weights = kernel.reshape(len(windows), -1)
    terms = (window * weight for window, weight in zip(windows, weights, strict=True))
    return functools.reduce(jnp.add, terms)


def _shifted(x: Array, kernel: Array, *, stride: int, padding: Padding) -> Array:
    return _multiply_add(_windows(x, kernel.shape[0], stride, padding), kernel)


def _shifted_gradients(
    x: Array, kernel: Array, g: Array, *, stride: int, padding: Padding
) -> tuple[Array, Array]:
    """Gradients as gathers: the transposes of the slices would be scatters, which are slow."""
    k = kernel.shape[0]
    # The input gradient correlates g, spread out by the stride, with the flipped kernel.
    spread = [
        (k - 1 - low, size + low - (n - 1) * stride - 1, stride - 1)
        for (low, _), size, n in zip(padding, x.shape[1:3], g.shape[1:3], strict=True)
    ]
    spread_g = jax.lax.pad(g, jnp.zeros((), g.dtype), [(0, 0, 0), *spread, (0, 0, 0)])
    dx = _multiply_add(_windows(spread_g, k, 1, ((0, 0), (0, 0))), kernel[::-1, ::-1])
    windows = _windows(x, k, stride, padding)
    dk = jnp.stack([jnp.sum(window * g, (0, 1, 2), dtype=jnp.float32) for window in windows])
    return dx, dk.reshape(kernel.shape).astype(kernel.dtype)


def _grouped_gradients(
    x: Array, kernel: Array, g: Array, *, stride: int, padding: Padding
) -> tuple[Array, Array]:
    _, vjp = jax.vjp(functools.partial(_grouped, stride=stride, padding=padding), x, kernel)
    return vjp(g)


def _depthwise_forward(
    x: Array, kernel: Array, stride: int, padding: Padding
) -> tuple[Array, tuple[Array, Array]]:
    return depthwise_conv(x, kernel, stride, padding), (x, kernel)


def _depthwise_backward(
    stride: int, padding: Padding, residuals: tuple[Array, Array], g: Array
) -> tuple[Array, Array]:
    return jax.lax.platform_dependent(
        *residuals,
        g,
        cpu=functools.partial(_shifted_gradients, stride=stride, padding=padding),
        default=functools.partial(_grouped_gradients, stride=stride, padding=padding),
    )


depthwise_conv.defvjp(_depthwise_forward, _depthwise_backward)


class DepthwiseConv(nn.Module):
    """Depthwise convolution without bias; `kernel` is (k, k, 1, C).

    Attributes:
      kernel_size: k.
      stride: of both axes.
      padding: explicit zeros, or None for TensorFlow's SAME.
      dtype: of the computation.
    """

    kernel_size: int = 3
    stride: int = 1
    padding: Padding | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, C) -> (B, H', W', C)."""
        k = self.kernel_size
        kernel = self.param("kernel", depthwise_init, (k, k, 1, x.shape[-1]), jnp.float32)
        padding = self.padding or same_padding(x.shape[1], x.shape[2], k, self.stride)
        return depthwise_conv(x.astype(self.dtype), kernel.astype(self.dtype), self.stride, padding)


class PointwiseConv(nn.Module):
    """1x1 convolution without bias, as the matrix product it is; `kernel` is (1, 1, C, D).

    Attributes:
      features: D, the number of output channels.
      dtype: of the computation.
    """

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, C) -> (B, H, W, D)."""
        kernel = self.param("kernel", conv_init, (1, 1, x.shape[-1], self.features), jnp.float32)
        return jnp.dot(x.astype(self.dtype), kernel[0, 0].astype(self.dtype))


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): drops the residual branch of whole examples.

    What is kept is divided by the keep rate, as Keras's Dropout with noise shape (B, 1, 1, 1) does.

    Attributes:
      rate: probability of dropping an example's branch.
    """

    rate: float

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """(B, H, W, C) -> (B, H, W, C); needs the 'dropout' random stream when it drops."""
        return nn.Dropout(self.rate, broadcast_dims=(1, 2, 3))(x, deterministic=not train)


def conv3x3(features: int, stride: int, dtype: Any, name: str) -> nn.Conv:
    """A dense 3x3 convolution without bias and with TensorFlow's SAME padding."""
    return nn.Conv(
        features,
        (3, 3),
        (stride, stride),
        padding="SAME",
        use_bias=False,
        dtype=dtype,
        kernel_init=conv_init,
        name=name,
    )
