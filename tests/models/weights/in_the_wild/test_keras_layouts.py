"""Keras files as people have them: a backbone in another model, with any head."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from keras_files import check, write_new, write_old

from cifsel.models.weights import h5_file, keras_h5, tensor_names


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
