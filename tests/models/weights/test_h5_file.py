"""Keras .h5 files: every layout that Keras writes is read; hostile/ has the rest."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cifsel.models.weights import h5_file, keras_h5

Write = Callable[..., Path]
Filled = Callable[..., dict[str, np.ndarray]]


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"keras2": True},
        {"below": "model_weights"},
        {"below": "model_weights", "keras2": True, "chunks": True},
    ],
)
def test_every_layout_reads_the_same(
    tmp_path: Path, write: Write, filled: Filled, layout: dict
) -> None:
    expected = filled()
    read = h5_file.read_tensors(write(tmp_path / "w.h5", expected, **layout))
    assert set(read) == set(expected)
    for name, value in read.items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, expected[name])
    assert keras_h5.tensors_sha256(read) == keras_h5.tensors_sha256(expected)


@pytest.mark.parametrize("kind", ["<f2", ">f4", "<f8"])
def test_other_precisions_become_float32(
    tmp_path: Path, write: Write, filled: Filled, kind: str
) -> None:
    stored = {name: value.astype(kind) for name, value in filled().items()}
    for name, value in h5_file.read_tensors(write(tmp_path / "w.h5", stored)).items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, stored[name].astype(np.float32))


def test_stored_normalization_count_is_the_one_integer(
    tmp_path: Path, write: Write, filled: Filled
) -> None:
    path = write(tmp_path / "w.h5", filled() | {"normalization/count": np.int64(0)})
    assert h5_file.read_tensors(path)["normalization/count"].shape == ()


def test_what_stands_before_it_is_not_part_of_it(
    tmp_path: Path, write: Write, filled: Filled
) -> None:
    """HDF5 allows for other content in front; it is not looked at, let alone run."""
    path, marker = tmp_path / "w.h5", tmp_path / "marker"
    content = write(path, filled()).read_bytes()
    script = f"#!/bin/sh\ntouch {marker}\nexit\n".encode()
    path.write_bytes(script.ljust(512, b"\n") + content)
    assert set(h5_file.read_tensors(path)) == set(filled())
    assert not marker.exists()
