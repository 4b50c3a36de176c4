"""Names the tensors of Keras's file layouts as 'layer/weight'.

In the older layout (`.h5`), a layer's group holds its tensors by name. A model within the model is
a group whose groups are its layers. In that of Keras 3 (`.weights.h5`, and within `.keras`), groups
are called after the class of a layer and numbered, and so are its tensors, as in
`layers/conv2d_3/vars/0`. The group `vars` knows the name of the layer in files of newer versions.
"""

import re
from collections import defaultdict
from collections.abc import Mapping

Path = tuple[str, ...]

# Tensors in the order in which Keras 3 numbers them, by the class of the layer.
_WEIGHTS = {
    "conv2d": ("kernel", "bias"),
    "depthwise_conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "normalization": ("mean", "variance", "count"),
}
_NUMBERED = re.compile(r"(.*?)(?:_(\d+))?$")


def is_keras_3(path: Path) -> bool:
    """True for the path of a tensor in the layout of Keras 3."""
    return len(path) > 2 and path[-2] == "vars" and path[-1].isdecimal()


def class_and_number(layer: str) -> tuple[str, int]:
    """Splits 'conv2d_3' into 'conv2d' and 3, and 'conv2d' into 'conv2d' and 0."""
    match = _NUMBERED.fullmatch(layer)
    return (match[1], int(match[2] or 0)) if match else (layer, 0)


def layer_of(name: str) -> str:
    """Returns the layer of a tensor's name, 'conv1' of 'conv1/kernel' or 'model/conv1/kernel'."""
    return name.split("/")[-2] if "/" in name else name


def named(paths: list[Path], layer_names: Mapping[Path, str]) -> dict[Path, str]:
    """Names tensors.

    Args:
      paths: of tensors, from the group that holds all layers on.
      layer_names: path of a group `vars` -> the name of its layer, where the file knows it.

    Returns:
      Path -> 'layer/weight'. Where two tensors would have the same name, the one in the smaller
      model has its whole path. Two tensors have the same name only if their paths are the same but
      for the ':0' that Keras 2 appends.
    """
    by_model: dict[Path, list[Path]] = defaultdict(list)
    parents: dict[str, set[Path]] = defaultdict(set)
    for path in paths:
        parents[path[0]].add(path[:-1])
    short = {path: _short(path, len(parents[path[0]]) > 1, layer_names) for path in paths}
    for path in paths:
        by_model[_model_of(path)].append(path)
    names: dict[Path, str] = {}
    taken: dict[str, Path] = {}
    for model in sorted(by_model, key=lambda model: -len(by_model[model])):
        for path in by_model[model]:
            name = short[path]
            if taken.setdefault(name, path[:-1]) != path[:-1]:
                name = "/".join((*path[:-1], name.rpartition("/")[2]))
            names[path] = name
    return names


def _model_of(path: Path) -> Path:
    """Returns the groups round a layer's own one."""
    return path[:-3] if is_keras_3(path) else path[:-2]


def _short(path: Path, in_model: bool, layer_names: Mapping[Path, str]) -> str:
    if is_keras_3(path):
        group, number = path[-3], int(path[-1])
        kinds = _WEIGHTS.get(class_and_number(group)[0], ())
        weight = kinds[number] if number < len(kinds) else path[-1]
        return f"{layer_names.get(path[:-1], group)}/{weight}"
    weight = path[-1].partition(":")[0]
    weight = "kernel" if weight == "depthwise_kernel" else weight
    # Else the names between are Keras's scope, which depends on how often a model was built.
    layer = path[-2] if in_model and len(path) > 2 else path[0]
    return f"{layer}/{weight}"
