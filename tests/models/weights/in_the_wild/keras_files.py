"""Keras files of a narrow MobileNet, in the layouts that Keras has written."""

import re
import zipfile
from pathlib import Path
from typing import Any

import h5py
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from cifsel.models import classifier
from cifsel.models.weights import backbone, keras_h5

SIZE = 32


def template_of(model: str, **kwargs: float) -> dict:
    built = classifier.build(model, num_classes=5, **kwargs)
    return jax.eval_shape(built.init, jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 3)))


def as_keras(template: dict, family: str) -> dict[str, np.ndarray]:
    """Random tensors of a backbone, by Keras's names and in Keras's shapes."""
    rng = np.random.default_rng(0)
    tensors = {}
    for names, leaf in traverse_util.flatten_dict(template).items():
        if names[1] == "backbone":
            name = keras_h5.keras_name(family, names)
            shape = keras_h5._keras_shape(names, name, leaf.shape)
            tensors[name] = rng.uniform(0.1, 1, shape).astype(np.float32)
    return tensors


HEAD = {"my_head/kernel": np.ones((256, 5), np.float32), "my_head/bias": np.zeros(5, np.float32)}


def write_old(path: Path, tensors: dict, inside: str = "", suffix: str = "") -> Path:
    """A file of model.save('name.h5'), with the backbone in the layer `inside`."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [b"input_1", inside.encode(), b"my_head"]
        for name, value in tensors.items():
            layer = name.partition("/")[0]
            root[f"{inside or layer}/{name}{suffix}"] = value
        for name, value in HEAD.items():
            root[f"my_head/{name}{suffix}"] = value
        file["optimizer_weights/iteration"] = np.int64(7)
        root["random_flip/seed_generator/seed_generator_state"] = np.zeros(2, np.uint32)
    return path


def numbered(tensors: dict, names: bool, inside: str, separator: str = "/") -> dict[str, Any]:
    """The paths and layer names of Keras 3's own layout."""
    order = {"kernel": 0, "bias": 1, "gamma": 0, "beta": 1, "moving_mean": 2, "moving_variance": 3}
    seen: dict[str, dict[str, int]] = {}
    content = {}
    for name, value in tensors.items():
        layer, _, weight = name.partition("/")
        kind = "dense" if "head" in layer else "conv2d"
        kind = "batch_normalization" if layer.endswith("bn") else kind
        kind = "depthwise_conv2d" if "_dw_" in layer and kind == "conv2d" else kind
        number = seen.setdefault(kind, {}).setdefault(layer, len(seen.get(kind, {})))
        group = f"{kind}_{number}" if number else kind
        place = separator.join(("layers", group)) if "head" in layer else f"{inside}{group}"
        content[f"{place}{separator}vars/{order[weight]}"] = value, layer if names else ""
    return content


def keras_order(tensors: dict) -> dict:
    """Tensors from the input to the output, as Keras numbers them."""

    def place(name: str) -> tuple:
        layer = name.partition("/")[0]
        number = re.search(r"_(dw|pw)_(\d+)", layer)
        return (int(number[2]), number[1], layer) if number else (0, "", layer)

    return {name: tensors[name] for name in sorted(tensors, key=place)}


def write_new(
    path: Path, tensors: dict, *, names: bool = True, inside: str = "layers/", separator: str = "/"
) -> Path:
    """A .weights.h5 file, or a .keras file with it inside."""
    target = path.with_suffix(".content") if path.suffix == ".keras" else path
    with h5py.File(target, "w") as file:
        content = numbered(keras_order(tensors) | HEAD, names, inside, separator)
        for place, (value, layer) in content.items():
            file[place] = value
            if layer:
                file[place.rpartition("/")[0]].attrs["name"] = layer
        file["optimizer/vars/0"] = np.int64(3)
        file["layers/random_flip/seed_generator/vars/0"] = np.zeros(2, np.uint32)
    if path.suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", "{}")
            archive.writestr("config.json", '{"module": "os", "class_name": "system"}')
            archive.write(target, "model.weights.h5")
    return path


def check(path: Path, mobilenet: tuple[dict, dict]) -> None:
    template, tensors = mobilenet
    variables, file = backbone.load_backbone(path, "mobilenet", template)
    loaded = traverse_util.flatten_dict(variables)
    expected = traverse_util.flatten_dict(
        keras_h5.convert(tensors, template, model="mobilenet", head=False, path=path)
    )
    assert loaded.keys() == expected.keys()
    assert {names[1] for names in loaded} == {"backbone"}
    for names, value in expected.items():
        np.testing.assert_array_equal(loaded[names], value)
    assert file.file == path.name
