"""Keras files as people have them: a backbone in another model, any head, every format of Keras."""

import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from cifsel.errors import UserError
from cifsel.models import classifier
from cifsel.models.weights import backbone, containers, download, h5_file, keras_h5, tensor_names

SIZE = 32
FORMATS = (".h5", ".weights.h5", ".keras")


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


@pytest.fixture(scope="module")
def mobilenet() -> tuple[dict, dict[str, np.ndarray]]:
    template = template_of("mobilenet", alpha=0.25)
    return template, as_keras(template, "mobilenet")


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


@pytest.mark.parametrize("suffix", ["", ":0"])
@pytest.mark.parametrize(
    "inside",
    ["", "mobilenet_0.25_32", "sequential_5", "model/mobilenet_1.00_224", "a/sequential_1/base"],
)
def test_old_files_with_a_model_inside(
    tmp_path: Path, mobilenet: tuple, inside: str, suffix: str
) -> None:
    check(write_old(tmp_path / "keras_model.h5", mobilenet[1], inside, suffix), mobilenet)


@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize(
    "inside",
    ["layers/", "layers/functional/layers/", "layers/sequential/layers/functional/layers/",
     "base/layers/", "_layer_checkpoint_dependencies/"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["model.weights.h5", "model.keras"])
def test_files_of_keras_3(
    tmp_path: Path, mobilenet: tuple, name: str, inside: str, names: bool
) -> None:
    """Those of older versions do not know the names of layers. They are not needed."""
    check(write_new(tmp_path / name, mobilenet[1], names=names, inside=inside), mobilenet)


def test_files_that_keras_wrote_on_windows(tmp_path: Path, mobilenet: tuple) -> None:
    path = tmp_path / "model.weights.h5"
    check(write_new(path, mobilenet[1], inside="layers\\", separator="\\"), mobilenet)


def test_hash_is_that_of_the_flat_file(tmp_path: Path, filled: Callable, write: Callable) -> None:
    """A record of a run names the same weights, in whatever way they were saved."""
    tensors = filled()
    flat = h5_file.read_tensors(write(tmp_path / "flat.h5", tensors))
    assert keras_h5.tensors_sha256(flat) == keras_h5.tensors_sha256(tensors)


def test_two_heads_of_the_same_names_do_not_matter(tmp_path: Path, mobilenet: tuple) -> None:
    path = write_old(tmp_path / "m.h5", mobilenet[1], "sequential_1")
    with h5py.File(path, "r+") as file:
        for head in ("sequential_2", "sequential_4"):
            file[f"model_weights/{head}/dense/kernel"] = np.ones((3, 3), np.float32)
            file[f"model_weights/{head}/dense_1/kernel"] = np.ones((3, 3), np.float32)
    check(path, mobilenet)


def refusal(path: Path, mobilenet: tuple, model: str = "mobilenet") -> str:
    with pytest.raises(UserError) as caught:
        backbone.load_backbone(path, model, mobilenet[0])
    assert str(caught.value).isprintable()
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


def test_two_backbones_are_refused(tmp_path: Path, mobilenet: tuple) -> None:
    path = write_old(tmp_path / "m.h5", mobilenet[1], "left")
    with h5py.File(path, "r+") as file:
        file.copy("model_weights/left", "model_weights/right")
    assert "135 extra (right/" in refusal(path, mobilenet)


def test_a_longer_backbone_is_not_cut_short(tmp_path: Path, mobilenet: tuple) -> None:
    more = mobilenet[1] | {"conv_pw_14/kernel": np.ones((1, 1, 256, 256), np.float32)}
    message = refusal(write_old(tmp_path / "m.h5", more, "base"), mobilenet)
    assert "does not fit mobilenet: 1 extra (conv_pw_14/kernel)" in message


def test_numbered_layers_of_another_width_are_refused(tmp_path: Path, mobilenet: tuple) -> None:
    wider = mobilenet[1] | {"conv_pw_3/kernel": np.ones((1, 1, 32, 77), np.float32)}
    message = refusal(write_new(tmp_path / "m.weights.h5", wider), mobilenet)
    assert "1 misshapen (conv_pw_3/kernel (1, 1, 32, 77) instead of (1, 1, 32, 32))" in message


@pytest.mark.parametrize(
    ("layer", "whose"),
    [
        ("block_1_project", "the layers of MobileNetV2, as Teachable Machine uses"),
        ("block2a_dwconv2", "the layers of an EfficientNet"),
        ("conv2_block1_1_conv", "the layers of a ResNet"),
        ("my_layer", "layers such as"),
    ],
)
def test_another_network_is_named(tmp_path: Path, mobilenet: tuple, layer: str, whose: str) -> None:
    other = {f"{layer}/kernel": np.ones((3, 3, 3, 3), np.float32), "x/kernel": np.ones(3, "f4")}
    path = write_old(tmp_path / "keras_model.h5", other, "sequential_1", ":0")
    message = refusal(path, mobilenet)
    assert f"no mobilenet but {whose}" in message
    assert "give weights of mobilenet, as keras.applications has them" in message


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", ".").replace("_of_", "/"), content)
    return path


def test_other_files_are_named(tmp_path: Path, mobilenet: tuple) -> None:
    path = tmp_path / "model.keras"
    cases: dict[str, Callable[[], object]] = {
        "a zip with keras_model.h5 in it, not a Keras file; unpack it": lambda: zipped(
            path, keras_model__h5=b"", labels__txt=b""
        ),
        "a PyTorch file; expected a Keras": lambda: zipped(path, archive_of_data__pkl=b""),
        "a NumPy .npz file": lambda: zipped(path, a__npy=b""),
        "a zip without model.weights.h5": lambda: zipped(path, x__txt=b""),
        "a damaged zip": lambda: path.write_bytes(b"PK\x03\x04" + bytes(100)),
        "a Python pickle": lambda: path.write_bytes(pickle.dumps({"a": 1}, protocol=4)),
        "a TensorFlow Lite model": lambda: path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(100)),
        "JSON, as TensorFlow.js writes": lambda: path.write_bytes(b'{"format": "layers-model"}'),
        "a pointer of Git LFS": lambda: path.write_bytes(b"version https://git-lfs.github.com/"),
        "a web page, not the file": lambda: path.write_bytes(b"<!DOCTYPE html>"),
        "not a readable HDF5 file": lambda: path.write_bytes(os.urandom(1) and b"x" * 500),
        "HDF5, but not a Keras weight file": lambda: h5py.File(path, "w").close(),
    }
    for expected, make in cases.items():
        path.unlink(missing_ok=True)
        make()
        assert expected in refusal(path, mobilenet)


def test_a_saved_model_is_a_folder(tmp_path: Path, mobilenet: tuple) -> None:
    assert "not a readable HDF5 file but a folder, as TensorFlow saves models" in refusal(
        tmp_path, mobilenet
    )
    with pytest.raises(UserError, match="a folder, as TensorFlow saves models"):
        download.use_file(str(tmp_path))


def test_a_zip_that_expands_is_not_unpacked(tmp_path: Path, mobilenet: tuple) -> None:
    path = zipped(tmp_path / "m.keras", model__weights__h5=bytes(20_000_000))
    assert "unpacks from 0 MB to 20, as no weights do" in refusal(path, mobilenet)


def test_a_zip_that_lies_about_its_size_is_cut(
    tmp_path: Path, mobilenet: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(tmp_path / "m.keras", model__weights__h5=bytes(5_000))
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02") + 24
    data[at : at + 4] = (100).to_bytes(4, "little")
    path.write_bytes(data)
    assert "damaged zip" in refusal(path, mobilenet) or "HDF5" in refusal(path, mobilenet)
    monkeypatch.setattr(containers, "MAX_BYTES", 100)
    path.write_bytes(bytes(101))
    assert "expected a Keras file of 0 at most" in refusal(path, mobilenet)


def test_no_attribute_is_read(
    tmp_path: Path, mobilenet: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5 2.0 ends the process at a damaged text."""
    paths = [
        write_new(tmp_path / "m.weights.h5", mobilenet[1]),
        write_old(tmp_path / "m.h5", mobilenet[1], "base"),
    ]
    monkeypatch.setattr(h5py.AttributeManager, "__getitem__", pytest.fail)
    for path in paths:
        check(path, mobilenet)


def test_order_of_layers_of_both_families() -> None:
    assert tensor_names.class_and_number("conv2d_12") == ("conv2d", 12)
    assert tensor_names.class_and_number("batch_normalization") == ("batch_normalization", 0)


# --- what Keras itself writes


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
