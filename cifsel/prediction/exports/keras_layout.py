"""The weights of a backbone as keras.applications has them: `models.weights` read backwards."""

import io

import h5py
import numpy as np
from jaxtyping import Float32

from cifsel.models.weights import keras_h5, layer_order
from cifsel.prediction.exports.source import Source, weights_of

# Names of our models -> functions of keras.applications.
APPLICATIONS = {"mobilenet": "MobileNet"} | {
    f"efficientnetv2-{variant}": f"EfficientNetV2{variant.upper()}"
    for variant in ("b0", "b1", "b2", "b3", "s", "m", "l")
}
# The order of a layer's weights in Keras.
_ORDER = (
    "kernel",
    "bias",
    "gamma",
    "beta",
    "moving_mean",
    "moving_variance",
)


def tensors(source: Source) -> dict[str, Float32[np.ndarray, "..."]]:
    """The tensors of the backbone by Keras's names, 'layer/weight', in Keras's order of axes.

    Raises:
      UserError: Keras's names are not known for this model.
    """
    return keras_h5.tensors_of(weights_of(source), source.name_of_model)


def convert(source: Source) -> bytes:
    """The content of an .h5 file, which load_weights of keras.applications' models reads.

    Raises:
      UserError: Keras's names are not known for this model.
    """
    named = tensors(source)
    layers: dict[str, list[str]] = {}
    for name in sorted(named, key=lambda name: _ORDER.index(name.partition("/")[2])):
        layers.setdefault(name.partition("/")[0], []).append(name)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["layer_names"] = np.array(sorted(layers, key=layer_order.position), "S")
        file.attrs["backend"] = np.bytes_("tensorflow")
        file.attrs["keras_version"] = np.bytes_("2.15.0")
        for layer, names in layers.items():
            group = file.create_group(layer)
            stored = [_stored(name) for name in names]
            group.attrs["weight_names"] = np.array(stored, "S")
            for name, place in zip(names, stored, strict=True):
                group.create_dataset(place, data=named[name])
    return buffer.getvalue()


def block_of(layer: str) -> str:
    """Our name of the block that a layer of keras.applications belongs to.

    'block2a' of 'block2a_expand_conv', and 'block3' of 'conv_pw_3_relu' and 'conv_dw_3'.
    """
    words = layer.split("_")
    if words[0] == "conv":  # MobileNet's conv_dw_3, conv_pad_2, conv_pw_3_bn
        return f"block{words[2]}"
    return "stem" if words[0] == "conv1" else words[0]


def _stored(name: str) -> str:
    """The name of a tensor in the file: 'conv_dw_1/depthwise_kernel:0' of 'conv_dw_1/kernel'."""
    layer, _, weight = name.partition("/")
    is_depthwise = weight == "kernel" and ("conv_dw" in layer or "dwconv" in layer)
    return f"{layer}/{'depthwise_' if is_depthwise else ''}{weight}:0"
