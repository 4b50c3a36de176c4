"""Names of the layers of Keras's models: which belong to a backbone, and to which one."""

import re
from collections.abc import Iterable

# The layers of each family's backbone, whatever its size.
_BACKBONE = {
    "mobilenet": re.compile(r"conv1(_bn)?|conv_(dw|pw)_\d+(_bn)?"),
    "efficientnetv2": re.compile(r"(stem|top)_(conv|bn)|block\d+[a-z]+_\w+"),
}
# A layer that only this architecture has, and how people call it.
_SIGNATURES = {
    r"block\d+[a-z]_dwconv2?|block1a_project_conv": "an EfficientNet",
    r"conv_dw_\d+": "MobileNet V1",
    r"(block_1_project|expanded_conv_depthwise)(_BN)?": "MobileNetV2, as Teachable Machine uses",
    r"expanded_conv(_\d+)?_(project|expand).*": "MobileNetV3",
    r"conv[2-5]_block1_1_conv": "a ResNet",
    r"conv[2-5]_block1_.*": "a ResNet or DenseNet",
    r"block1_conv1": "VGG or Xception",
    r"conv2d_9[0-9]|mixed\d+": "Inception",
    r"convnext_.*": "ConvNeXt",
    r"stem_conv|normal_conv_.*": "NASNet or EfficientNet",
}


def is_of_backbone(family: str, layer: str) -> bool:
    """True for the name of a layer that a backbone of the family may have."""
    return _BACKBONE[family].fullmatch(layer) is not None


def guess(layers: Iterable[str]) -> str:
    """Says whose layers they are, or names the first few of them."""
    layers = list(dict.fromkeys(layers))
    for pattern, name in _SIGNATURES.items():
        if any(re.fullmatch(pattern, layer) for layer in layers):
            return f"the layers of {name}"
    return f"layers such as {', '.join(layers[:3])}" if layers else "no layers"
