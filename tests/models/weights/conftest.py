"""Keras weight files of a few small tensors."""

from pathlib import Path

import h5py
import numpy as np
import pytest

Tensors = dict[str, np.ndarray]
# One tensor of each kind, small enough to write hundreds of files of them.
TINY = {
    "conv1/kernel": (3, 3, 3, 8),
    "conv1_bn/gamma": (8,),
    "conv1_bn/moving_variance": (8,),
    "conv_dw_1/kernel": (3, 3, 8, 1),
    "conv_preds/bias": (10,),
}


def filled(shapes: dict[str, tuple[int, ...]] = TINY, seed: int = 0) -> Tensors:
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(0.1, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def write(
    path: Path,
    tensors: Tensors,
    *,
    below: str = "",
    keras2: bool = False,
    **storage: object,
) -> Path:
    """Writes tensors as keras.applications' files have them (`keras2`: as they were in 2017)."""
    with h5py.File(path, "w") as file:
        root = file.create_group(below) if below else file
        layers = dict.fromkeys(name.partition("/")[0] for name in tensors)
        root.attrs["layer_names"] = [layer.encode() for layer in layers]
        for name, value in tensors.items():
            layer, _, weight = name.partition("/")
            place = name
            if keras2:
                weight = "depthwise_kernel" if "_dw_" in layer and weight == "kernel" else weight
                # The scope of a model that was not the first to be built.
                place = f"{layer}_3/{weight}:0"
            root.require_group(layer).create_dataset(place, data=value, **storage)
    return path


@pytest.fixture(name="filled", scope="session")
def _filled():
    return filled


@pytest.fixture(name="write", scope="session")
def _write():
    return write
