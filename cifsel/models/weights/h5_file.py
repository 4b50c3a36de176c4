"""Reads Keras's `.h5` weight files into tensors by name.

There are two layouts. The files of keras.applications have a group for each layer and an attribute
`layer_names`. Whole models that `model.save('name.h5')` wrote have the same groups under
`model_weights`. Tensors are named `layer/weight`, as in `conv_dw_1/kernel` or
`conv1_bn/moving_mean`, for files of Keras 2 and 3: the trailing `:0` of Keras 2 is dropped, and its
`depthwise_kernel` is called `kernel`, as Keras 3 does.

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

# The largest published file, EfficientNetV2-L with classifier, has 480 MB and 1,020 tensors in some
# thousands of groups. The limits are over twice that.
MAX_BYTES = 2**30
MAX_ITEMS = 20_000
MAX_DEPTH = 6


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Float32[np.ndarray, "..."]]:
    """Reads every tensor of a Keras weight file.

    Args:
      path: a local `.h5` file in one of the two layouts.

    Returns:
      'layer/weight' -> array, in Keras's order of axes.

    Raises:
      UserError: the file is missing, not HDF5, truncated, in another layout, or compressed. Or it
        refers to other files (links, external or virtual storage), or holds something that is no
        finite floating-point tensor of a sensible size.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such weight file")
    if not path.is_file():  # Opening a pipe would wait without end.
        raise UserError(f"{path}: not a readable HDF5 file, nor any file; expected a Keras .h5")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise UserError(
            f"{path}: {size / 1e6:,.0f} MB; expected a Keras .h5 of {MAX_BYTES / 1e6:,.0f} at most"
        )
    try:
        with h5py.File(path, "r") as file:
            return _read_groups(file, path, size)
    except UserError:
        raise
    except Exception as error:  # h5py raises many kinds of exceptions for damage.
        raise UserError(
            f"{path}: not a readable HDF5 file, or a truncated one ({one_line(error)}); expected a"
            " Keras .h5 weight file: fetch it again"
        ) from error


def _read_groups(file: h5py.File, path: Path, size: int) -> dict[str, Float32[np.ndarray, "..."]]:
    """Reads the tensors of an open file of `size` bytes, as 'layer/weight' -> array."""
    root: h5py.Group = file
    if file.get("model_weights", getclass=True, getlink=True) is h5py.HardLink:
        root = file["model_weights"]
    if not {"layer_names", "layer_names0"} & set(root.attrs):
        raise UserError(
            f"{path}: HDF5, but not a Keras weight file by layers (no attribute layer_names);"
            " expected one of keras.applications or written by model.save('name.h5')"
        )
    tensors: dict[str, np.ndarray] = {}
    stored = 0
    for names, dataset in _walk(root, path):
        key = _tensor_name(names)
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


def _walk(root: h5py.Group, path: Path) -> Iterator[tuple[tuple[str, ...], h5py.Dataset]]:
    """Yields every data set below `root` with its path, and refuses links."""
    pending: deque[tuple[tuple[str, ...], h5py.Group]] = deque([((), root)])
    items = 0
    while pending:
        above, group = pending.popleft()
        if len(above) >= MAX_DEPTH:
            raise UserError(f"{path}: groups nested deeper than {MAX_DEPTH} at {'/'.join(above)}")
        for name in group:
            names = (*above, name)
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


def _tensor_name(names: tuple[str, ...]) -> str:
    """Names a tensor by its layer's group and its own last name.

    The names between are Keras's scope, which depends on how often a model was built.
    """
    weight = names[-1].partition(":")[0]
    return f"{names[0]}/{'kernel' if weight == 'depthwise_kernel' else weight}"


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
