"""predictions.npz: the logits, labels and ids of the validation and test images of a run."""

from collections.abc import Mapping

import numpy as np
from etils import epath

from cifsel.errors import UserError, one_line
from cifsel.workdir import files

SPLITS = ("val", "test")
# Larger logits are refused, as their probabilities cannot be computed.
_MAX_LOGIT = 1e9


def read(path: epath.Path) -> dict[str, np.ndarray]:
    """Reads and checks the file.

    Returns:
      'class_names' (K,) and, for each split, 'val_logits' (N, K), 'val_labels' (N,) and 'val_ids'
      (N,).

    Raises:
      UserError: it is missing, damaged, or another file.
    """
    try:
        arrays = files.read_npz(path)
        _check(arrays)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} is missing or damaged ({one_line(error)}): delete"
            f" {path.parent / files.METRICS} and give the run's command again"
        ) from None
    return arrays


def _check(arrays: Mapping[str, np.ndarray]) -> None:
    """Raises KeyError or ValueError unless the arrays are those of a predictions.npz."""
    kinds_and_axes = {"logits": ("f", 2), "labels": ("i", 1), "ids": ("i", 1)}
    if (names := arrays["class_names"]).dtype.kind != "U" or names.ndim != 1:
        raise ValueError(f"class_names is {names.dtype} {names.shape}")
    for split in SPLITS:
        for name, (kind, axes) in kinds_and_axes.items():
            array = arrays[f"{split}_{name}"]
            if array.dtype.kind != kind or array.ndim != axes:
                raise ValueError(f"{split}_{name} is {array.dtype} {array.shape}")
            if len(array) != len(arrays[f"{split}_labels"]) or not len(array):
                raise ValueError(f"{split}_{name} has {len(array)} rows")
        logits, labels = arrays[f"{split}_logits"], arrays[f"{split}_labels"]
        if logits.shape[1] != len(names) or not len(names):
            raise ValueError(f"{len(names)} class names do not fit the logits")
        if labels.min() < 0 or labels.max() >= len(names):
            raise ValueError(f"{split}_labels go beyond the {len(names)} classes")
        if not (np.abs(logits) < _MAX_LOGIT).all():
            raise ValueError(f"logits are not finite, or {_MAX_LOGIT:g} and more")
