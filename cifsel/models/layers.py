"""The convolutions that both backbones are made of, with batch norm, and stochastic depth.

Some have two forms. XLA's own is the right one on TPU and GPU; on a CPU XLA runs a grouped
convolution 4 to 22 times slower than the same sum written as one shifted multiply-add per kernel
position, and is slow with images of three channels and with the gradients of kernels, so that a CPU
gets the forms in `on_cpu`. The form is chosen by the platform that is compiled *for*, never by the
machine that compiles, and both agree to float32 rounding, gradients included.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cifsel.models.batch_norm import BatchNorm, FixedNorm
from cifsel.models.cpu import dense, depthwise, silu
from cifsel.models.cpu.dense import xla_conv
from cifsel.models.cpu.windows import Padding

Array = jax.Array

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
        cpu=lambda x, kernel: depthwise.depthwise_conv(x, kernel, stride, padding),
        default=lambda x, kernel: grouped_conv(x, kernel, stride, padding),
    )


def grouped_conv(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    """`depthwise_conv` as XLA's grouped convolution."""
    return xla_conv(x, kernel, stride, padding, groups=x.shape[-1])


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
    def __call__(self, x: Array, scale: Array | float = 1.0) -> Array:
        """(B, H, W, C) -> (B, H', W', C), times `scale` (C,)."""
        k = self.kernel_size
        kernel = self.param("kernel", depthwise_init, (k, k, 1, x.shape[-1]), jnp.float32)
        padding = self.padding or same_padding(x.shape[1], x.shape[2], k, self.stride)
        kernel = (kernel * scale).astype(self.dtype)
        return depthwise_conv(x.astype(self.dtype), kernel, self.stride, padding)


class PointwiseConv(nn.Module):
    """1x1 convolution without bias, as the matrix product it is; `kernel` is (1, 1, C, D).

    Attributes:
      features: D, the number of output channels.
      dtype: of the computation.
    """

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, scale: Array | float = 1.0) -> Array:
        """(B, H, W, C) -> (B, H, W, D), times `scale` (D,)."""
        kernel = self.param("kernel", conv_init, (1, 1, x.shape[-1], self.features), jnp.float32)
        kernel = (kernel[0, 0] * scale).astype(self.dtype)
        # As two matrices: XLA's CPU backend is slower with more axes.
        rows = x.astype(self.dtype).reshape(-1, x.shape[-1])
        y = jax.lax.platform_dependent(rows, kernel, cpu=dense.matmul, default=jnp.dot)
        return y.reshape(*x.shape[:-1], self.features)


class Conv3x3(nn.Module):
    """Dense 3x3 convolution without bias, TensorFlow's SAME padding; `kernel` is (3, 3, C, D).

    Attributes:
      features: D, the number of output channels.
      stride: of both axes.
      dtype: of the computation.
    """

    features: int
    stride: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, scale: Array | float = 1.0) -> Array:
        """(B, H, W, C) -> (B, H', W', D), times `scale` (D,)."""
        kernel = self.param("kernel", conv_init, (3, 3, x.shape[-1], self.features), jnp.float32)
        padding = same_padding(x.shape[1], x.shape[2], 3, self.stride)
        x, kernel = x.astype(self.dtype), (kernel * scale).astype(self.dtype)
        return jax.lax.platform_dependent(
            x,
            kernel,
            cpu=lambda x, kernel: dense.dense_conv(x, kernel, self.stride, padding),
            default=lambda x, kernel: xla_conv(x, kernel, self.stride, padding),
        )


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


@dataclasses.dataclass(frozen=True)
class Norm:
    """Batch norm behind a convolution, for all of a backbone's layers.

    Attributes:
      dtype: of the computation.
      fixed: normalise by the running statistics and leave them as they are.
      momentum: of the running statistics: what is kept of them at each update.
      epsilon: added to the variance.
    """

    dtype: Any
    fixed: bool
    momentum: float
    epsilon: float

    def __call__(
        self, x: Array, conv: nn.Module, features: int, name: str, *, activate: bool = False
    ) -> Array:
        """The convolution `conv` of x, normalised by the child `name` of the calling module.

        With `activate`, SiLU of that, which has another form on a CPU.
        """
        if self.fixed:
            # Folded into the kernel: no pass over the activations of its own, forward or backward.
            scale, bias = FixedNorm(self.epsilon, name=name)(features)
            x, bias = conv(x, scale), bias.astype(self.dtype)
            if not activate:
                return x + bias
            return jax.lax.platform_dependent(
                x, bias, cpu=silu.biased_silu, default=lambda x, bias: nn.silu(x + bias)
            )
        norm = BatchNorm(self.epsilon, self.momentum, name=name)
        return norm(conv(x), activate)
