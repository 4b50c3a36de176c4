"""MobileNet V1 (Howard et al. 2017, arXiv:1704.04861) as keras.applications builds it.

Keras's weights need two differences from the paper. ReLU6 stands for ReLU. The depthwise
convolutions of stride 2 pad one row and column of zeros at the bottom and right.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from cifsel.models import layers

# (output channels at alpha 1, stride) of the 13 depthwise-separable blocks: the paper's table 1.
BLOCKS = (
    (64, 1),
    (128, 2), (128, 1),
    (256, 2), (256, 1),
    (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip

# keras.applications: default of layers.BatchNormalization.
BN_MOMENTUM = 0.99
BN_EPSILON = 1e-3


class MobileNet(nn.Module):
    """The convolutional part of MobileNet V1.

    Attributes:
      alpha: width multiplier. Every channel count is int(count * alpha).
      dtype: of the activations. Parameters and batch statistics stay float32.
    """

    alpha: float = 1.0
    dtype: Any = jnp.float32

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the children that hold parameters, from the input to the output."""
        return ("stem", *(f"block{i}" for i in range(1, len(BLOCKS) + 1)))

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w 3"], train: bool = False, frozen_bn: bool = False
    ) -> Float[Array, "b _ _ d"]:
        """Runs the backbone.

        Args:
          x: preprocessed images, in [-1, 1]. With sides below 31, nothing is left after the last
            stride.
          train: normalise by batch statistics and update the running ones.
          frozen_bn: keep to the running statistics even when training.

        Returns:
          1024 * alpha features at ceil(h / 32) x ceil(w / 32) positions. There is one position less
          along a side if an odd size meets the one-sided padding.
        """
        fixed = not train or frozen_bn
        norm = layers.Norm(self.dtype, fixed, momentum=BN_MOMENTUM, epsilon=BN_EPSILON)
        x = _Stem(int(32 * self.alpha), norm, name="stem")(x)
        for i, (features, stride) in enumerate(BLOCKS, start=1):
            x = _Block(int(features * self.alpha), stride, norm, name=f"block{i}")(x)
        return x


class _Stem(nn.Module):
    features: int
    norm: layers.Norm

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b H W {self.features}"]:
        conv = layers.Conv3x3(self.features, 2, self.norm.dtype, name="conv")
        return nn.relu6(self.norm(x, conv, self.features, "conv_bn"))


class _Block(nn.Module):
    features: int
    stride: int
    norm: layers.Norm

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b H W {self.features}"]:
        depthwise = layers.DepthwiseConv(
            stride=self.stride,
            padding=((0, 1), (0, 1)) if self.stride == 2 else None,
            dtype=self.norm.dtype,
            name="depthwise",
        )
        pointwise = layers.PointwiseConv(self.features, dtype=self.norm.dtype, name="pointwise")
        x = nn.relu6(self.norm(x, depthwise, x.shape[-1], "depthwise_bn"))
        return nn.relu6(self.norm(x, pointwise, self.features, "pointwise_bn"))
