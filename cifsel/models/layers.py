"""The convolutions that both backbones are made of, and stochastic depth.

A depthwise convolution has two forms here. XLA's grouped convolution is the right one on TPU and
GPU; on a CPU XLA runs it 4 to 22 times slower than the same sum written as one shifted
multiply-add per kernel position (experiments/bench_cpu.py). The form is chosen by the platform that
is compiled *for*, never by the machine that compiles, and both agree to float32 rounding, gradients
included.
"""

import functools
from collections.abc import Callable
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


def _shifted(x: Array, kernel: Array, *, stride: int, padding: Padding) -> Array:
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    batch, height, width, channels = x.shape
    k = kernel.shape[0]
    rows, columns = (height - k) // stride + 1, (width - k) // stride + 1
    total = jnp.zeros((), x.dtype)
    for i in range(k):
        for j in range(k):
            end = (batch, i + (rows - 1) * stride + 1, j + (columns - 1) * stride + 1, channels)
            window = jax.lax.slice(x, (0, i, j, 0), end, (1, stride, stride, 1))
            total += window * kernel[i, j, 0]
    return total


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


Norm = Callable[[str], nn.BatchNorm]


def batch_norm(dtype: Any, fixed: bool, *, momentum: float, epsilon: float) -> Norm:
    """Makes the batch norms of a backbone, given their names.

    Args:
      dtype: of the computation.
      fixed: normalise by the running statistics and leave them as they are.
      momentum: of the running statistics: what is kept of them at each update.
      epsilon: added to the variance.
    """

    def make(name: str) -> nn.BatchNorm:
        return nn.BatchNorm(
            use_running_average=fixed, momentum=momentum, epsilon=epsilon, dtype=dtype, name=name
        )

    return make


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
