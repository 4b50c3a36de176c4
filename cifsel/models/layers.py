"""The layers of both backbones: convolutions, batch norm behind them, stochastic depth.

Convolutions have two forms. XLA's own is the right one on TPU and GPU. On a CPU, XLA runs a grouped
convolution 4 to 22 times slower than the same sum as one shifted multiply-add per kernel position.
It is also slow with images of three channels, and with the gradients of kernels. A CPU therefore
gets the forms in `cifsel.models.cpu`. The form is chosen by the platform that the program is
compiled for, not by the machine that compiles it. Both forms agree to float32 rounding, gradients
included.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Float32

from cifsel.models.batch_norm import BatchNorm, FixedNorm
from cifsel.models.cpu import dense, depthwise, silu
from cifsel.models.cpu.dense import xla_conv
from cifsel.models.cpu.windows import Padding

# A factor for each output channel of a kernel, which batch norm is folded into.
Scale = Float32[Array, " d"] | float

# He et al. 2015, over the outputs of a kernel: EfficientNet's initialisation.
conv_init = nn.initializers.variance_scaling(2.0, "fan_out", "truncated_normal")
# A depthwise kernel has one input per channel. Fan-out would count all channels and give almost 0.
depthwise_init = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")


def same_padding(height: int, width: int, kernel: int, stride: int) -> Padding:
    """Returns TensorFlow's SAME padding, for ceil(size / stride) outputs. An odd zero goes last."""

    def along_axis(size: int) -> tuple[int, int]:
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2

    return along_axis(height), along_axis(width)


def depthwise_conv(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k 1 c"], stride: int, padding: Padding
) -> Float[Array, "b H W c"]:
    """Convolves every channel with its own kernel.

    Args:
      x: the input.
      kernel: of x's dtype.
      stride: of both axes, in pixels.
      padding: zeros before and after each spatial axis, in pixels.

    Returns:
      H = (h + padding - k) // stride + 1 rows and as many columns, of x's dtype.
    """
    return jax.lax.platform_dependent(
        x,
        kernel,
        cpu=lambda x, kernel: depthwise.depthwise_conv(x, kernel, stride, padding),
        default=lambda x, kernel: grouped_conv(x, kernel, stride, padding),
    )


def grouped_conv(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k 1 c"], stride: int, padding: Padding
) -> Float[Array, "b H W c"]:
    """Computes `depthwise_conv` as XLA's grouped convolution."""
    return xla_conv(x, kernel, stride, padding, groups=x.shape[-1])


class DepthwiseConv(nn.Module):
    """Depthwise convolution without bias. The parameter `kernel` is (k, k, 1, C).

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
    def __call__(self, x: Float[Array, "b h w d"], scale: Scale = 1.0) -> Float[Array, "b H W d"]:
        """Convolves x and multiplies the result by `scale`."""
        k = self.kernel_size
        kernel = self.param("kernel", depthwise_init, (k, k, 1, x.shape[-1]), jnp.float32)
        padding = self.padding or same_padding(x.shape[1], x.shape[2], k, self.stride)
        kernel = _scaled(kernel, scale).astype(self.dtype)
        return depthwise_conv(x.astype(self.dtype), kernel, self.stride, padding)


class PointwiseConv(nn.Module):
    """1x1 convolution without bias, as a matrix product. The parameter `kernel` is (1, 1, C, D).

    Attributes:
      features: D, the number of output channels.
      dtype: of the computation.
    """

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], scale: Scale = 1.0) -> Float[Array, "b h w d"]:
        """Convolves x and multiplies the result by `scale`."""
        kernel = self.param("kernel", conv_init, (1, 1, x.shape[-1], self.features), jnp.float32)
        kernel = _scaled(kernel[0, 0], scale).astype(self.dtype)
        # As two matrices: XLA's CPU backend is slower with more axes.
        rows = x.astype(self.dtype).reshape(-1, x.shape[-1])
        y = jax.lax.platform_dependent(rows, kernel, cpu=dense.matmul, default=jnp.dot)
        return y.reshape(*x.shape[:-1], self.features)


class Conv3x3(nn.Module):
    """Dense 3x3 convolution without bias, with TensorFlow's SAME padding.

    The parameter `kernel` is (3, 3, C, D).

    Attributes:
      features: D, the number of output channels.
      stride: of both axes.
      dtype: of the computation.
    """

    features: int
    stride: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], scale: Scale = 1.0) -> Float[Array, "b H W d"]:
        """Convolves x and multiplies the result by `scale`."""
        kernel = self.param("kernel", conv_init, (3, 3, x.shape[-1], self.features), jnp.float32)
        padding = same_padding(x.shape[1], x.shape[2], 3, self.stride)
        x, kernel = x.astype(self.dtype), _scaled(kernel, scale).astype(self.dtype)
        return jax.lax.platform_dependent(
            x,
            kernel,
            cpu=lambda x, kernel: dense.dense_conv(x, kernel, self.stride, padding),
            default=lambda x, kernel: xla_conv(x, kernel, self.stride, padding),
        )


def _scaled(kernel: Float32[Array, "*inputs d"], scale: Scale) -> Float32[Array, "*inputs d"]:
    """Multiplies a kernel by `scale`, along its outputs."""
    if isinstance(scale, float):
        return kernel * scale
    return kernel * jnp.expand_dims(scale, range(kernel.ndim - 1))


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): drops the residual branch of whole examples.

    The other branches are divided by the keep rate. Keras's Dropout with noise shape (B, 1, 1, 1)
    does the same.

    Attributes:
      rate: probability of dropping an example's branch.
    """

    rate: float

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w c"]:
        """Drops branches when it trains, by the random stream 'dropout'."""
        return nn.Dropout(self.rate, broadcast_dims=(1, 2, 3))(x, deterministic=not train)


@dataclasses.dataclass(frozen=True)
class Norm:
    """Batch norm behind a convolution, for all of a backbone's layers.

    Attributes:
      dtype: of the computation.
      fixed: normalise by the running statistics and leave them as they are.
      momentum: share of the running statistics that each update keeps.
      epsilon: added to the variance.
    """

    dtype: Any
    fixed: bool
    momentum: float
    epsilon: float

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        conv: nn.Module,
        features: int,
        name: str,
        *,
        activate: bool = False,
    ) -> Float[Array, "b H W {features}"]:
        """Convolves x by `conv` and normalises by the child `name` of the calling module.

        With `activate`, SiLU is applied, which has another form on a CPU.
        """
        if self.fixed:
            # The scale is folded into the kernel, which saves passes over the activations.
            scale, bias = FixedNorm(self.epsilon, name=name)(features)
            x, bias = conv(x, scale), bias.astype(self.dtype)
            if not activate:
                return x + bias[None, None, None]
            return jax.lax.platform_dependent(
                x,
                bias,
                cpu=silu.biased_silu,
                default=lambda x, bias: nn.silu(x + bias[None, None, None]),
            )
        norm = BatchNorm(self.epsilon, self.momentum, name=name)
        return norm(conv(x), activate)
