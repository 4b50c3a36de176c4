"""Reads Keras's weight files into tensors by name.

Three layouts are read. The `.h5` files of keras.applications have a group for each layer and an
attribute `layer_names`. Whole models that `model.save('name.h5')` wrote have the same groups under
`model_weights`. Keras 3 writes a layout of its own into `.weights.h5` and `.keras` files.
Tensors are named `layer/weight` in all of them, as in `conv_dw_1/kernel` or
`conv1_bn/moving_mean`, also where a model is a layer of another one (`tensor_names`).

The files are untrusted. Nothing is unpickled, no link is followed, and nothing outside the file is
opened. Compressed tensors are refused, as their size shows only once they fill the memory. Keras
compresses nothing.
"""

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float32

from cifsel.errors import UserError, one_line
from cifsel.models.weights import containers, tensor_names

# The largest published file has 1,020 tensors in some thousands of groups.
MAX_ITEMS = 20_000
# A model in a model in a model, in the layout of Keras 3.
MAX_DEPTH = 16
MAX_NAME = 1_000  # characters of a layer's name


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Float32[np.ndarray, "..."]]:
    """Reads every tensor of a Keras weight file.

    Args:
      path: a local file in one of the three layouts.

    Returns:
      'layer/weight' -> array, in Keras's order of axes.

    Raises:
      UserError: the file is missing, not HDF5, truncated, in another layout, or compressed. Or it
        refers to other files (links, external or virtual storage), or holds something that is no
        finite floating-point tensor of a sensible size.
    """
    path = Path(path)
    try:
        with containers.opened(path) as (content, size), h5py.File(content, "r") as file:
            return _read_groups(file, path, size)
    except UserError:
        raise
    except Exception as error:  # h5py raises many kinds of exceptions for damage.
        raise UserError(
            f"{path}: not a readable HDF5 file, or a truncated one ({one_line(error)});"
            f" {containers.EXPECTED}: fetch it again"
        ) from error


def _read_groups(file: h5py.File, path: Path, size: int) -> dict[str, Float32[np.ndarray, "..."]]:
    """Reads the tensors of an open file of `size` bytes, as 'layer/weight' -> array."""
    root: h5py.Group = file
    if file.get("model_weights", getclass=True, getlink=True) is h5py.HardLink:
        root = file["model_weights"]
    is_keras_3 = not {"layer_names", "layer_names0"} & set(root.attrs)
    datasets = {
        names: dataset
        for names, dataset in _walk(root, path)
        if not _is_other(names) and not (is_keras_3 and names[0] == "optimizer")
    }
    if is_keras_3 and not any(tensor_names.is_keras_3(names) for names in datasets):
        raise UserError(
            f"{path}: HDF5, but not a Keras weight file (no attribute layer_names, no layers);"
            f" {containers.EXPECTED}, as model.save('name.keras') writes it"
        )
    layer_names = {names[:-1]: _layer_name(dataset) for names, dataset in datasets.items()}
    known = {names: name for names, name in layer_names.items() if name}
    keys = tensor_names.named(list(datasets), known)
    tensors: dict[str, np.ndarray] = {}
    stored = 0
    for names, dataset in datasets.items():
        key = keys[names]
        if key in tensors:
            raise UserError(f"{path}: two tensors are called {key}; expected one of each name")
        _check_tensor(dataset, key, path)
        stored += dataset.id.get_storage_size()
        if stored > size:
            raise UserError(
                f"{path}: {key} would make it {stored:,} bytes of tensors in a file of {size:,};"
                " expected each to be there once"
            )
        tensors[key] = _read_tensor(dataset, key, path)
    return tensors


def _is_other(names: tuple[str, ...]) -> bool:
    """True for the state of a layer that draws random numbers."""
    return any(name.startswith("seed_generator") for name in names)


def _layer_name(dataset: h5py.Dataset) -> str:
    """Returns what the group of a tensor says that the layer is called. '' if it says nothing."""
    attributes = dataset.parent.attrs
    if "name" not in attributes or attributes.get_id("name").shape != ():
        return ""
    name = attributes["name"]
    return name[:MAX_NAME] if isinstance(name, str) else ""


def _walk(root: h5py.Group, path: Path) -> Iterator[tuple[tuple[str, ...], h5py.Dataset]]:
    """Yields every data set below `root` with its path, and refuses links."""
    pending: deque[tuple[tuple[str, ...], h5py.Group]] = deque([((), root)])
    items = 0
    while pending:
        above, group = pending.popleft()
        if len(above) >= MAX_DEPTH:
            raise UserError(f"{path}: groups nested deeper than {MAX_DEPTH} at {'/'.join(above)}")
        for name in group:
            # Keras on Windows has written paths into one name.
            text = name if isinstance(name, str) else name.decode(errors="backslashreplace")
            names = (*above, *text.split("\\"))
            items += 1
            if items > MAX_ITEMS:  # Groups that contain each other end here too.
                raise UserError(
                    f"{path}: more than {MAX_ITEMS:,} groups and tensors at {'/'.join(names)};"
                    " that is no published model"
                )
            # Asking for the link's class does not open what it points at.
            if group.get(name, getclass=True, getlink=True) is not h5py.HardLink:
                raise UserError(
                    f"{path}: {'/'.join(names)} is a link to somewhere else; expected the tensor"
                    " itself"
                )
            item = group[name]
            if isinstance(item, h5py.Group):
                pending.append((names, item))
            elif isinstance(item, h5py.Dataset):
                yield names, item
            else:
                raise UserError(f"{path}: {'/'.join(names)} is neither a group nor a tensor")


def _check_tensor(dataset: h5py.Dataset, key: str, path: Path) -> None:
    """Refuses, before it is read, a data set that is no tensor, or is not stored plainly."""
    if dataset.is_virtual or dataset.external:
        raise UserError(f"{path}: {key} keeps its numbers in other files; expected them inside")
    # The only integer in these files is the number of images that a Normalization layer has seen.
    is_count = key.endswith("/count") and dataset.dtype.kind in "iu" and dataset.shape == ()
    if not is_count and (dataset.dtype.kind != "f" or dataset.dtype.itemsize > 8):
        raise UserError(
            f"{path}: {key} has dtype {dataset.dtype}; expected floating point of 16 to 64 bits"
        )
    if dataset.shape is None or len(dataset.shape) > 4:
        raise UserError(f"{path}: {key} has shape {dataset.shape}; expected 0 to 4 axes")
    if dataset.id.get_create_plist().get_nfilters():
        raise UserError(
            f"{path}: {key} is compressed; expected numbers as they are, as Keras writes them:"
            " unpack it with h5repack -f NONE"
        )
    needed, stored = dataset.size * dataset.dtype.itemsize, dataset.id.get_storage_size()
    if stored < needed:
        raise UserError(
            f"{path}: {key} has shape {dataset.shape}, for which it holds {stored:,} bytes;"
            f" expected {needed:,}: fetch it again"
        )


def _read_tensor(dataset: h5py.Dataset, key: str, path: Path) -> Float32[np.ndarray, "..."]:
    """Reads one checked data set as float32."""
    with np.errstate(over="ignore"):
        value = np.asarray(dataset[()], dtype=np.float32)
    if not np.isfinite(value).all():
        raise UserError(f"{path}: {key} holds NaN or infinity; expected finite numbers")
    if key.endswith("/moving_variance") and (value < 0).any():
        raise UserError(f"{path}: {key} is negative somewhere; expected variances")
    return value
