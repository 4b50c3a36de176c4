"""A model in one file: weights of 16 or 8 bits, and all that their use needs to know.

The file is in the safetensors format, which other programs read too. A kernel is an array of two
axes or more. It is stored in float16, or in int8 with a scale for each output channel. All other
arrays are in float32. One text in the header, JSON, has the rest: `Facts`.

A file may come from somebody else. Reading it takes memory in proportion to its size, which is
bounded. Nothing in it is unpickled or executed.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from etils import epath
from flax import traverse_util
from jaxtyping import Float

from cifsel.errors import UserError, one_line
from cifsel.runtime import regular
from cifsel.workdir import files, model_meta
from cifsel.workdir.model_meta import ClassifierMeta, SelfieMeta

Tree = Any
FLOAT16, INT8 = "float16", "int8"
# Weights in float16 of the largest network, EfficientNetV2-L, have 240 MB.
MAX_BYTES = 300_000_000
VERSION = 1
_KEY = "cifsel"  # of the text in the header
_SCALE, _CALIBRATION = ".scale", "calibration"
_MAX_HEADER = files.MAX_JSON_BYTES
_LEVELS = 127  # int8 without -128, so that both signs reach equally far


@dataclasses.dataclass(frozen=True)
class Facts:
    """Metadata of a model file.

    Attributes:
      weights: FLOAT16 or INT8.
      meta: of the checkpoint, JSON-ready. It has the classes, and what the model must be shown.
      preprocessing: what is done to images in [0, 255] between resizing and the network, and how
        they are resized. For programs without cifsel.
      temperature: by which logits are divided.
      sure_from: the least highest probability of a reliable answer. None where that is not known.
      coverage: by coverage, such as '0.9', the least probability of a class in a set.
      record: how the model was made, and how well it did.
      licence: of the weights.
      cifsel_version: of the program that wrote it.
    """

    weights: str
    meta: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    temperature: float
    sure_from: float | None
    coverage: Mapping[str, float]
    record: Mapping[str, Any]
    licence: str
    cifsel_version: str

    def to_json(self) -> dict[str, Any]:
        """The fields, JSON-ready, with the version of the layout."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"version": VERSION, **fields}


@dataclasses.dataclass(frozen=True, eq=False)
class ModelFile:
    """A model file that has been read.

    Attributes:
      path: of the file, for messages.
      facts: what it says of itself.
      meta: of the checkpoint, checked.
      arrays: as they are stored, by name, such as 'params/head/logits/kernel'.
      calibration: the probability of the true class of each validation image. None without any.
      digest: of the file.
    """

    path: str
    facts: Facts
    meta: ClassifierMeta | SelfieMeta
    arrays: Mapping[str, np.ndarray]
    calibration: Float[np.ndarray, " n"] | None
    digest: str

    def model(self, template: Tree) -> Tree:
        """The variables in float32, as arrays of the shapes of `template`.

        Raises:
          UserError: the file has other arrays.
        """
        shapes = {
            name: tuple(leaf.shape)
            for name, leaf in traverse_util.flatten_dict(template, sep="/").items()
        }
        try:
            return _decoded(self.arrays, shapes, self.facts.weights)
        except ValueError as error:
            raise _damaged(self.path, error) from error


def encode(tree: Tree, weights: str) -> dict[str, np.ndarray]:
    """Rounds variables to the arrays that a file stores.

    Args:
      tree: nested dicts of float32 arrays.
      weights: FLOAT16 or INT8, of the kernels.

    Raises:
      UserError: float16 has no such large numbers.
    """
    stored: dict[str, np.ndarray] = {}
    for name, leaf in traverse_util.flatten_dict(tree, sep="/").items():
        array = np.asarray(leaf, np.float32)
        if array.ndim < 2:
            stored[name] = array
        elif weights == INT8:
            largest = np.abs(array).max(tuple(range(array.ndim - 1)))
            scale = np.where(largest > 0, largest / _LEVELS, 1).astype(np.float32)
            stored[name] = np.rint(array / scale).astype(np.int8)
            stored[name + _SCALE] = scale
        else:
            with np.errstate(over="ignore"):
                stored[name] = array.astype(np.float16)
            if not np.isfinite(stored[name]).all():
                raise UserError(
                    f"{name} has numbers of more than 65,504, which float16 does not have: export"
                    " in another format"
                )
    return stored


def rounded(tree: Tree, weights: str) -> Tree:
    """Variables as they come back from a file of these weights."""
    shapes = {
        name: np.shape(leaf) for name, leaf in traverse_util.flatten_dict(tree, sep="/").items()
    }
    return _decoded(encode(tree, weights), shapes, weights)


def _decoded(
    stored: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], weights: str
) -> Tree:
    """Undoes `encode`. Raises ValueError unless the arrays are those of the shapes, and finite."""
    arrays = {}
    for name, shape in shapes.items():
        is_kernel = len(shape) >= 2
        array = _typed(stored, name, shape, weights if is_kernel else "float32")
        value = array.astype(np.float32)
        if is_kernel and weights == INT8:
            value *= _typed(stored, name + _SCALE, shape[-1:], "float32")
        if not np.isfinite(value).all():
            raise ValueError(f"{name} has numbers that are not finite")
        if name.endswith("/var") and (value < 0).any():
            raise ValueError(f"{name} has negative variances")
        arrays[name] = value
    expected = len(shapes) + (sum(len(s) >= 2 for s in shapes.values()) if weights == INT8 else 0)
    if len(stored) != expected:
        raise ValueError(f"it has {len(stored)} arrays; expected {expected}")
    # jnp.asarray would compile a program for each shape.
    return jax.device_put(traverse_util.unflatten_dict(arrays, sep="/"))


def _typed(
    stored: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], dtype: str
) -> np.ndarray:
    if name not in stored:
        raise ValueError(f"there is no {name}")
    array = stored[name]
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name} is {array.dtype} {array.shape}; expected {dtype} {shape}")
    return array


def to_bytes(
    arrays: Mapping[str, np.ndarray], facts: Facts, calibration: Float[np.ndarray, " n"] | None
) -> bytes:
    """The content of a file.

    Args:
      arrays: of `encode`.
      facts: what it says of itself.
      calibration: as in `ModelFile`.
    """
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    if calibration is not None:
        tensors[_CALIBRATION] = np.asarray(calibration, np.float32)
    text = json.dumps(facts.to_json(), allow_nan=False)
    return safetensors.numpy.save(tensors, {_KEY: text})


def read(path: epath.Path | Path) -> ModelFile:
    """Reads a model file, local or on gs://.

    Raises:
      UserError: there is no such file, it is none of cifsel's, or it is damaged.
    """
    try:
        content = regular.content(path, MAX_BYTES)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a model file ({one_line(error)})") from error
    return parse(content, str(path))


def parse(content: bytes, path: str) -> ModelFile:
    """As `read`, of the bytes of a file.

    Args:
      content: of the file.
      path: for messages.
    """
    text = _text(content, path)
    try:
        tensors = dict(safetensors.numpy.load(content))
        facts = _facts(json.loads(text))
        calibration = tensors.pop(_CALIBRATION, None)
        _check_calibration(calibration)
    except Exception as error:  # safetensors raises classes of its own, and KeyError for dtypes.
        raise _damaged(path, error) from error
    meta = model_meta.parse(facts.meta, path)
    return ModelFile(path, facts, meta, tensors, calibration, hashlib.sha256(content).hexdigest())


def _text(content: bytes, path: str) -> str:
    """The text in the header. Raises UserError for a file that is no model file."""
    length = int.from_bytes(content[:8], "little")
    try:
        if not 2 <= length <= min(_MAX_HEADER, len(content) - 8):
            raise ValueError("no header of safetensors")
        header = json.loads(content[8 : 8 + length])
        text = header["__metadata__"][_KEY]
        if not isinstance(text, str):
            raise TypeError(f"its {_KEY} is no text")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} is no model file of cifsel: give the workdir of a run, a comparison, or a file"
            " that cifsel.export wrote with --format=cifsel"
        ) from error
    return text


def _facts(content: Any) -> Facts:
    """Raises KeyError, TypeError or ValueError for anything that `Facts.to_json` did not write."""
    files.check_json(content)
    if not isinstance(content, dict) or content["version"] != VERSION:
        raise ValueError("it is of another version of cifsel")
    facts = Facts(**{name: content[name] for name in Facts.__dataclass_fields__})
    if facts.weights not in (FLOAT16, INT8):
        raise ValueError(f"its weights are {facts.weights!r:.60}; expected {FLOAT16} or {INT8}")
    for name in ("meta", "preprocessing", "coverage", "record"):
        if not isinstance(getattr(facts, name), dict):
            raise ValueError(f"its {name} is no object")
    for name in ("licence", "cifsel_version"):
        if not isinstance(getattr(facts, name), str):
            raise ValueError(f"its {name} is no text")
    return facts


def _check_calibration(array: np.ndarray | None) -> None:
    if array is None:
        return
    if array.ndim != 1 or array.dtype != np.float32 or not len(array):
        raise ValueError(f"{_CALIBRATION} is {array.dtype} {array.shape}; expected float32 (N,)")
    if not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"{_CALIBRATION} has numbers that are no probabilities")


def _damaged(path: str, error: Exception) -> UserError:
    missing = "there is no " if isinstance(error, KeyError) else ""
    return UserError(
        f"{path} is damaged, or of another version of cifsel ({missing}{one_line(error)}): fetch it"
        " again, or use the version that wrote it"
    )
