"""Converts the tensors of Keras weight files to Flax variables, and refuses any mismatch."""

import hashlib
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util
from jaxtyping import Float32

from cifsel.errors import UserError
from cifsel.models.classifier import IMAGENET_MEAN, IMAGENET_STD
from cifsel.models.weights import architectures, layer_order, tensor_names

# Keras's names of layers, by ours, where formatting alone does not give them.
_MOBILENET_STEM = {"conv": "conv1", "conv_bn": "conv1_bn"}
_MOBILENET_SHORT = {"depthwise": "dw", "pointwise": "pw"}
_EFFICIENTNET_LAYER = {"conv_bn": "bn", "depthwise": "dwconv2", "depthwise_bn": "bn"}
_CLASSIFIER = {
    "mobilenet": "conv_preds",
    "efficientnetv2": "predictions",
}
_BATCH_NORM_WEIGHT = {
    "scale": "gamma",
    "bias": "beta",
    "mean": "moving_mean",
    "var": "moving_variance",
}


def tensors_sha256(tensors: Mapping[str, Float32[np.ndarray, "..."]]) -> str:
    """Hashes tensors by content, in whatever way their file was written.

    Args:
      tensors: as `h5_file.read_tensors` returns them.

    Returns:
      SHA-256 in hex over name, shape and little-endian bytes of each, in order of name.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = np.ascontiguousarray(tensors[name], dtype="<f4")
        digest.update(f"{name} {value.shape} float32\n".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def convert(
    tensors: Mapping[str, np.ndarray],
    template: Mapping[str, Any],
    *,
    model: str,
    head: bool,
    path: str | os.PathLike[str],
) -> dict[str, Any]:
    """Fills a model's variables with Keras tensors: every tensor once, every variable filled.

    Args:
      tensors: as `h5_file.read_tensors` returns them.
      template: {'params': {'backbone': ..., 'head': ...}, 'batch_stats': {'backbone': ...}} whose
        leaves have a `shape`.
      model: 'mobilenet' or an 'efficientnetv2-...' name.
      head: True fills the template's head with the file's classifier too. False leaves all layers
        behind the backbone unused, and the template's head out of the result.
      path: of the tensors' file, for messages.

    Returns:
      A tree like `template`, without the head if `head` is False, of float32 numpy arrays: conv
      kernels HWIO, depthwise kernels (H, W, 1, C), dense kernels (in, out).

    Raises:
      UserError: tensors are missing, left over or misshapen, all of which are named. Or the file
        holds another model. Or Keras's names for this model are not known.
    """
    family = model.partition("-")[0]
    if family not in _CLASSIFIER:
        raise UserError(
            f"{path}: how Keras names the weights of {model} is not known, only of"
            f" {' and '.join(_CLASSIFIER)}: use weights=none to train from scratch"
        )
    classifier = {f"{_CLASSIFIER[family]}/{weight}" for weight in ("kernel", "bias")}
    left = layer_order.with_names(tensors, _keras_names(template, family))
    _take_normalization(left, path)
    if not head:
        layers = [tensor_names.layer_of(name) for name in left]
        if not any(architectures.is_of_backbone(family, layer) for layer in layers):
            raise UserError(
                f"{path}: no {model} but {architectures.guess(layers)}: give weights of {model}, as"
                " keras.applications has them, also as a part of another model"
            )
        left = {
            name: value
            for name, value in left.items()
            if architectures.is_of_backbone(family, tensor_names.layer_of(name))
        }
    elif not classifier & set(left):
        raise UserError(
            f"{path}: has no ImageNet classifier ({_CLASSIFIER[family]}); expected the file with"
            " the top, not the 'no_top' one"
        )
    variables, problems = _filled(template, left, family, head)
    if problems:
        raise UserError(
            f"{path}: does not fit {model}: {', '.join(problems)}; check that file, model and"
            " alpha belong together"
        )
    return variables


def tensors_of(backbone: Mapping[str, Any], model: str) -> dict[str, Float32[np.ndarray, "..."]]:
    """Does `convert` backwards, for a backbone.

    Args:
      backbone: {'params': ..., 'batch_stats': ...} of the backbone, with NumPy arrays.
      model: 'mobilenet' or an 'efficientnetv2-...' name.

    Returns:
      'layer/weight' -> array, in Keras's order of axes.

    Raises:
      UserError: Keras's names for this model are not known.
    """
    family = model.partition("-")[0]
    if family not in _CLASSIFIER:
        raise UserError(
            f"how Keras names the weights of {model} is not known, only of"
            f" {' and '.join(_CLASSIFIER)}: give --format=onnx or --format=stablehlo"
        )
    tensors = {}
    for (kind, *below), value in traverse_util.flatten_dict(dict(backbone)).items():
        names = (kind, "backbone", *below)
        name = keras_name(family, names)
        tensors[name] = value.reshape(_keras_shape(names, name, value.shape))
    return tensors


def _filled(
    template: Mapping[str, Any], left: dict[str, np.ndarray], family: str, head: bool
) -> tuple[dict[str, Any], list[str]]:
    """Moves tensors from `left` into a tree like `template`. Returns it, and problems in words."""
    filled: dict[tuple[str, ...], np.ndarray] = {}
    missing: list[str] = []
    misshapen: list[str] = []
    for names, leaf in traverse_util.flatten_dict(dict(template)).items():
        if names[1] == "head" and not head:
            continue
        name = keras_name(family, names)
        value = left.pop(name, None)
        expected = _keras_shape(names, name, leaf.shape)
        if value is None:
            missing.append(name)
        elif value.shape != expected:
            misshapen.append(f"{name} {value.shape} instead of {expected}")
        else:
            # Only axes of length 1 change places, so reshaping is enough.
            filled[names] = value.reshape(leaf.shape)
    wrong = {"missing": missing, "extra": list(left), "misshapen": misshapen}
    problems = [
        f"{len(entries)} {problem} ({_abbreviated(entries)})"
        for problem, entries in wrong.items()
        if entries
    ]
    return traverse_util.unflatten_dict(filled), problems


def _keras_names(template: Mapping[str, Any], family: str) -> list[str]:
    """Lists Keras's names of a template's tensors in its backbone."""
    paths = traverse_util.flatten_dict(dict(template))
    return [keras_name(family, names) for names in paths if names[1] == "backbone"]


def keras_name(family: str, names: tuple[str, ...]) -> str:
    """Names a variable as Keras does.

    Args:
      family: 'mobilenet' or 'efficientnetv2'.
      names: the variable's path, as ('params', 'backbone', 'block1', 'depthwise', 'kernel').

    Returns:
      'layer/weight', as `h5_file.read_tensors` names them: 'conv_dw_1/kernel'.
    """
    *_, block, layer, weight = names
    weight = _BATCH_NORM_WEIGHT[weight] if layer.endswith("_bn") else weight
    if names[1] == "head":
        return f"{_CLASSIFIER[family]}/{weight}"
    if family == "efficientnetv2":
        return f"{block}_{_EFFICIENTNET_LAYER.get(layer, layer)}/{weight}"
    return f"{_mobilenet_layer(block, layer)}/{weight}"


def _mobilenet_layer(block: str, layer: str) -> str:
    if block == "stem":
        return _MOBILENET_STEM[layer]
    kind, _, bn = layer.partition("_")
    number = block.removeprefix("block")
    return f"conv_{_MOBILENET_SHORT[kind]}_{number}{'_bn' if bn else ''}"


def _keras_shape(names: tuple[str, ...], name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape in which Keras stores a variable of `shape`."""
    if names[-1] == "kernel" and names[-2] == "depthwise":
        return (*shape[:2], shape[3], shape[2])
    # Keras writes these dense layers as 1x1 convolutions.
    if name.endswith(("se_reduce/kernel", "se_expand/kernel", "conv_preds/kernel")):
        return (1, 1, *shape)
    return tuple(shape)


def _take_normalization(left: dict[str, np.ndarray], path: str | os.PathLike[str]) -> None:
    """Checks the tensors of a Keras Normalization layer and removes them from `left`.

    Keras's EfficientNetV2 B0 to B3 normalises by constants. Some versions of Keras store them.
    """
    known = {"mean": IMAGENET_MEAN, "variance": tuple(std**2 for std in IMAGENET_STD)}
    for name in [n for n in left if n.startswith("normalization")]:
        weight = name.rpartition("/")[2]
        value = left.pop(name).reshape(-1)
        if weight in known and not (value.shape == (3,) and np.allclose(value, known[weight])):
            raise UserError(
                f"{path}: {name} is {value[:3].tolist()}; expected ImageNet's {known[weight]},"
                " with which this model normalises its input"
            )
        if weight not in {*known, "count"} or (weight == "count" and math.prod(value.shape) != 1):
            raise UserError(f"{path}: {name} is unknown; expected mean, variance and count")


def _abbreviated(names: list[str], limit: int = 5) -> str:
    """Joins names, or the first few of them."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
