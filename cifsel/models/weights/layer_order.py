"""Gives Keras's names to layers that a file only numbers by their class.

So do `.weights.h5` and `.keras` files: `conv2d_3` is the fourth layer of the class Conv2D. Keras
numbers the layers of a model from its input to its output. Newer versions also write the names of
layers, as attributes. They are not needed, and `h5_file` reads no attributes.
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from cifsel.models.weights.tensor_names import class_and_number

_CLASSES = ("conv2d", "depthwise_conv2d", "batch_normalization")
# The order of the layers in a block of EfficientNetV2, which is the rest of the name.
_IN_BLOCK = (
    "expand_conv",
    "expand_bn",
    "dwconv2",
    "bn",
    "se_reduce",
    "se_expand",
    "project_conv",
    "project_bn",
)


def with_names(tensors: Mapping[str, np.ndarray], expected: Iterable[str]) -> dict[str, np.ndarray]:
    """Renames numbered layers.

    Args:
      tensors: 'layer/weight' -> array, as `h5_file.read_tensors` returns them.
      expected: Keras's names of a backbone's tensors, 'layer/weight', in any order.

    Returns:
      The tensors, with names of the backbone for those that were numbered. The same as given, if
      any of the expected names is there.
    """
    expected = set(expected)
    if expected & set(tensors) or "batch_normalization/gamma" not in tensors:
        return dict(tensors)
    layers: dict[str, list[str]] = {kind: [] for kind in _CLASSES}
    for layer in sorted({name.partition("/")[0] for name in expected}, key=position):
        layers[_class_of(layer, expected)].append(layer)
    renamed = {}
    for name, value in tensors.items():
        layer, _, weight = name.partition("/")
        kind, number = class_and_number(layer)
        names = layers.get(kind, [])
        renamed[f"{names[number]}/{weight}" if number < len(names) else name] = value
    return renamed


def _class_of(layer: str, expected: set[str]) -> str:
    if f"{layer}/gamma" in expected:
        return "batch_normalization"
    return "depthwise_conv2d" if re.search(r"conv_dw_|dwconv", layer) else "conv2d"


def position(layer: str) -> tuple[int, int, str, int]:
    """Returns what orders the layers of either family from the input to the output.

    Args:
      layer: Keras's name of it.

    Raises:
      ValueError: it is of no backbone.
    """
    if layer.startswith(("conv1", "stem")):
        return 0, 0, "", int(layer.endswith("bn"))
    if layer.startswith("top"):
        return 2, 0, "", int(layer.endswith("bn"))
    if match := re.fullmatch(r"conv_(dw|pw)_(\d+)(_bn)?", layer):
        return 1, int(match[2]), "", 2 * (match[1] == "pw") + bool(match[3])
    match = re.fullmatch(r"block(\d+)([a-z]+)_(\w+)", layer)
    if match is None:
        raise ValueError(f"no place for the layer {layer}")
    return 1, int(match[1]), match[2], _IN_BLOCK.index(match[3])
