"""Files that Keras itself writes, in every way that it saves a model."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from flax import traverse_util
from keras_files import SIZE, template_of

from cifsel.models.weights import backbone, keras_h5

FORMATS = (".h5", ".weights.h5", ".keras")


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    keras = pytest.importorskip("keras")
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    return keras


def without_layer_names(path: Path) -> Path:
    """The file as older versions of Keras wrote it."""

    def forget(name: str, item: object) -> None:
        if isinstance(item, h5py.Group) and "name" in item.attrs:
            del item.attrs["name"]

    with h5py.File(path, "r+") as file:
        file.visititems(forget)
    return path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", ["mobilenet", "efficientnetv2-b0"])
def test_every_way_of_keras_to_save_a_model(
    tmp_path: Path, keras: Any, model: str, shorten: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch, "b0", repeats=1)
    kind = {"mobilenet": "MobileNet", "efficientnetv2-b0": "EfficientNetV2B0"}[model]
    width = {"alpha": 0.25} if model == "mobilenet" else {}
    layers = keras.layers
    options = {"weights": None, "include_top": False, "input_shape": (SIZE, SIZE, 3), **width}

    def built(**more: str) -> Any:
        base = getattr(keras.applications, kind)(**options, **more)
        rng = np.random.default_rng(0)
        base.set_weights([rng.uniform(0.1, 1, weight.shape) for weight in base.get_weights()])
        return base

    base = built()
    models = {
        "nested": keras.Sequential(
            [keras.Input((SIZE, SIZE, 3)), layers.RandomFlip(), base,
             layers.GlobalAveragePooling2D(), layers.Dense(5)]
        ),
    }  # fmt: skip
    if model == "mobilenet":  # The others would show the same again, in more time.
        plain, pooled = built(), built(pooling="avg")
        averaged = layers.GlobalAveragePooling2D()(plain.output)
        head = layers.Dense(5, name="mine")(layers.Dense(7)(averaged))
        models["flat"] = keras.Model(plain.input, head)
        models["teachable"] = keras.Sequential(
            [
                keras.Input((SIZE, SIZE, 3)),
                keras.Sequential([pooled]),
                keras.Sequential([layers.Dense(7), layers.Dense(5)]),
            ]
        )
    template = template_of(model, **width)
    # The reference: Keras's own names and values.
    short = {"depthwise_kernel": "kernel"}
    reference = {
        f"{layer.name}/{short.get(weight.name, weight.name)}": np.asarray(weight)
        for layer in base.layers
        for weight in layer.weights
    }
    expected = traverse_util.flatten_dict(
        keras_h5.convert(reference, template, model=model, head=False, path="reference")
    )
    for name, made in models.items():
        paths = [tmp_path / f"{name}{suffix}" for suffix in FORMATS]
        made.save(paths[0])
        made.save_weights(paths[1])
        made.save(paths[2])
        old = tmp_path / f"{name}-old.weights.h5"
        made.save_weights(old)
        for path in (*paths, without_layer_names(old)):
            variables, _ = backbone.load_backbone(path, model, template)
            loaded = traverse_util.flatten_dict(variables)
            assert loaded.keys() == expected.keys()
            for names, value in expected.items():
                np.testing.assert_array_equal(loaded[names], value, err_msg=f"{path} {names}")
