"""EfficientNetV2 (Tan and Le 2021, arXiv:2104.00298) as keras.applications builds it."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from cifsel.models import layers

# keras.applications: momentum and epsilon of every BatchNormalization layer.
BN_MOMENTUM = 0.9
BN_EPSILON = 1e-3
# Paper, section 4.1: squeeze-excite reduces to a quarter of the block's input channels.
SE_RATIO = 0.25


@dataclasses.dataclass(frozen=True)
class Stage:
    """A row of the paper's table 4.

    Attributes:
      repeats: number of blocks.
      features: output channels.
      expand: inner channels of a block, as a multiple of its input channels.
      stride: of the first block.
      fused: True for Fused-MBConv, in which a dense 3x3 convolution expands. False for MBConv, with
        a 1x1 and a depthwise 3x3 convolution and squeeze-excite.
    """

    repeats: int
    features: int
    expand: int
    stride: int
    fused: bool


@dataclasses.dataclass(frozen=True)
class Variant:
    """A member of the family.

    Attributes:
      stem: channels of the first convolution at width 1.
      stages: the blocks at width and depth 1.
      width: multiplier of all channel counts, rounded to multiples of 8.
      depth: multiplier of all repeats, rounded up.
      top: channels of the last convolution at width 1.
    """

    stem: int
    stages: tuple[Stage, ...]
    width: float = 1.0
    depth: float = 1.0
    top: int = 1280


_BASE = (
    Stage(1, 16, 1, 1, fused=True),
    Stage(2, 32, 4, 2, fused=True),
    Stage(2, 48, 4, 2, fused=True),
    Stage(3, 96, 4, 2, fused=False),
    Stage(5, 112, 6, 1, fused=False),
    Stage(8, 192, 6, 2, fused=False),
)
_S = (
    Stage(2, 24, 1, 1, fused=True),
    Stage(4, 48, 4, 2, fused=True),
    Stage(4, 64, 4, 2, fused=True),
    Stage(6, 128, 4, 2, fused=False),
    Stage(9, 160, 6, 1, fused=False),
    Stage(15, 256, 6, 2, fused=False),
)
_M = (
    Stage(3, 24, 1, 1, fused=True),
    Stage(5, 48, 4, 2, fused=True),
    Stage(5, 80, 4, 2, fused=True),
    Stage(7, 160, 4, 2, fused=False),
    Stage(14, 176, 6, 1, fused=False),
    Stage(18, 304, 6, 2, fused=False),
    Stage(5, 512, 6, 1, fused=False),
)
_L = (
    Stage(4, 32, 1, 1, fused=True),
    Stage(7, 64, 4, 2, fused=True),
    Stage(7, 96, 4, 2, fused=True),
    Stage(10, 192, 4, 2, fused=False),
    Stage(19, 224, 6, 1, fused=False),
    Stage(25, 384, 6, 2, fused=False),
    Stage(7, 640, 6, 1, fused=False),
)
# Ours, not the paper's: each kind of block once or twice. It is small enough for a laptop's CPU.
_MINI = (
    Stage(1, 16, 1, 1, fused=True),
    Stage(1, 24, 2, 2, fused=True),
    Stage(1, 32, 2, 2, fused=False),
    Stage(2, 48, 2, 2, fused=False),
)
VARIANTS = {
    "b0": Variant(32, _BASE),
    "b1": Variant(32, _BASE, depth=1.1),
    "b2": Variant(32, _BASE, width=1.1, depth=1.2),
    "b3": Variant(32, _BASE, width=1.2, depth=1.4),
    "s": Variant(24, _S),
    "m": Variant(24, _M),
    "l": Variant(32, _L),
    "mini": Variant(16, _MINI, top=192),
}


def round_features(features: int, width: float) -> int:
    """Scales a channel count and rounds it to the nearest multiple of 8, at least 8."""
    return max(8, int(features * width + 4) // 8 * 8)


class EfficientNetV2(nn.Module):
    """The convolutional part of EfficientNetV2.

    Attributes:
      variant: a key of VARIANTS.
      drop_path: stochastic-depth rate of the last block. It grows linearly from 0 at the first.
      dtype: of the activations. Parameters and batch statistics stay float32.
    """

    variant: str = "b0"
    drop_path: float = 0.0
    dtype: Any = jnp.float32

    def _blocks(self) -> list[tuple[str, Stage, int]]:
        """Returns (name, stage, stride) of each block. Names are Keras's: block1a, block2a, ..."""
        variant = VARIANTS[self.variant]
        return [
            (f"block{i}{chr(ord('a') + j)}", stage, stage.stride if j == 0 else 1)
            for i, stage in enumerate(variant.stages, start=1)
            for j in range(math.ceil(stage.repeats * variant.depth))
        ]

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the children that hold parameters, from the input to the output."""
        return ("stem", *(name for name, _, _ in self._blocks()), "top")

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w 3"], train: bool = False, frozen_bn: bool = False
    ) -> Float[Array, "b _ _ d"]:
        """Runs the backbone.

        Args:
          x: preprocessed images.
          train: normalise by batch statistics, update the running ones, and drop paths.
          frozen_bn: keep to the running statistics even when training.

        Returns:
          Features at ceil(h / 32) x ceil(w / 32) positions. D is 1280 for B0, B1, S, M and L.
        """
        variant = VARIANTS[self.variant]
        fixed = not train or frozen_bn
        norm = layers.Norm(self.dtype, fixed, momentum=BN_MOMENTUM, epsilon=BN_EPSILON)
        stem = round_features(variant.stem, variant.width)
        x = _ConvBlock(stem, 3, norm, name="stem")(x)
        blocks = self._blocks()
        for i, (name, stage, stride) in enumerate(blocks):
            x = _Block(
                features=round_features(stage.features, variant.width),
                stage=stage,
                stride=stride,
                drop_path=self.drop_path * i / len(blocks),
                norm=norm,
                name=name,
            )(x, train)
        top = round_features(variant.top, variant.width)
        return _ConvBlock(top, 1, norm, name="top")(x)


class _ConvBlock(nn.Module):
    """Convolution, batch norm and SiLU: the stem (3x3, stride 2) or the top (1x1)."""

    features: int
    kernel_size: int
    norm: layers.Norm

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b H W {self.features}"]:
        dtype = self.norm.dtype
        if self.kernel_size == 3:
            conv: nn.Module = layers.Conv3x3(self.features, 2, dtype, name="conv")
        else:
            conv = layers.PointwiseConv(self.features, dtype, name="conv")
        return self.norm(x, conv, self.features, "conv_bn", activate=True)


class _Block(nn.Module):
    """MBConv or Fused-MBConv, with a residual connection if shapes allow it."""

    features: int
    stage: Stage
    stride: int
    drop_path: float
    norm: layers.Norm

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], train: bool
    ) -> Float[Array, "b H W {self.features}"]:
        inputs = x
        wide = x.shape[-1] * self.stage.expand
        if not self.stage.fused:
            x = self._conv1x1(x, wide, "expand", activate=True)
            depthwise = layers.DepthwiseConv(
                stride=self.stride, dtype=self.norm.dtype, name="depthwise"
            )
            x = self.norm(x, depthwise, wide, "depthwise_bn", activate=True)
            x = self._squeeze_excite(x, max(1, int(inputs.shape[-1] * SE_RATIO)))
            x = self._conv1x1(x, self.features, "project")
        elif self.stage.expand > 1:
            x = self._conv3x3(x, wide, "expand")
            x = self._conv1x1(x, self.features, "project")
        else:
            x = self._conv3x3(x, self.features, "project")
        if self.stride == 1 and inputs.shape[-1] == self.features:
            x = inputs + layers.DropPath(self.drop_path)(x, train)
        return x

    def _conv1x1(
        self, x: Float[Array, "b h w c"], features: int, name: str, *, activate: bool = False
    ) -> Float[Array, "b h w {features}"]:
        conv = layers.PointwiseConv(features, dtype=self.norm.dtype, name=f"{name}_conv")
        return self.norm(x, conv, features, f"{name}_bn", activate=activate)

    def _conv3x3(
        self, x: Float[Array, "b h w c"], features: int, name: str
    ) -> Float[Array, "b H W {features}"]:
        conv = layers.Conv3x3(features, self.stride, self.norm.dtype, name=f"{name}_conv")
        return self.norm(x, conv, features, f"{name}_bn", activate=True)

    def _squeeze_excite(self, x: Float[Array, "b h w c"], reduced: int) -> Float[Array, "b h w c"]:
        """Scales each channel by a gate that is computed from all means (Hu et al. 2018)."""
        dense = {"dtype": self.norm.dtype, "kernel_init": layers.conv_init}
        gate = jnp.mean(x, (1, 2), keepdims=True)
        gate = nn.silu(nn.Dense(reduced, name="se_reduce", **dense)(gate))
        return x * nn.sigmoid(nn.Dense(x.shape[-1], name="se_expand", **dense)(gate))
