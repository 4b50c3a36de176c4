"""Other networks and other files are named and refused."""

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from keras_files import write_new, write_old

from cifsel.errors import UserError
from cifsel.models.weights import backbone, containers, download


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
