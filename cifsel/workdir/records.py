"""Reads back nested dataclasses that `dataclasses.asdict` has written as JSON."""

import collections.abc
import dataclasses
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

import jaxtyping
import numpy as np

T = TypeVar("T")


def read(kind: type[T], content: Any) -> T:
    """Makes a dataclass of its JSON form.

    Fields may be numbers, texts, None, arrays, tuples, mappings, and such dataclasses. Names that
    the dataclass does not have are ignored. A dataclass that is there already stays as it is.

    Raises:
      KeyError: a field is missing that has no default.
      TypeError: the value of a field is of another type.
      ValueError: a tuple is of another length, or an array has rows of different lengths.
    """
    return _read(kind, content)


def _read(kind: Any, content: Any) -> Any:  # noqa: PLR0911 - one for each kind
    if kind is Any:
        return content
    if dataclasses.is_dataclass(kind):
        if isinstance(content, kind):  # type: ignore[arg-type]  # is_dataclass takes objects too
            return content
        return _read_dataclass(kind, content)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _read_union(arguments, content)
    if origin is tuple:
        items = _typed(list, content)
        if arguments[1:] == (...,):
            arguments = arguments[:1] * len(items)
        return tuple(_read(k, item) for k, item in zip(arguments, items, strict=True))
    if origin in (dict, Mapping, collections.abc.Mapping):
        return {name: _read(arguments[1], value) for name, value in _typed(dict, content).items()}
    if origin is list:
        return [_read(arguments[0], item) for item in _typed(list, content)]
    if isinstance(kind, type) and issubclass(kind, jaxtyping.AbstractArray):
        floats = any(dtype.startswith("float") for dtype in kind.dtypes)
        return np.asarray(content, np.float64 if floats else np.int32)
    if kind is float and type(content) is int:
        return content  # As it is, so that it is written as it was.
    if kind is datetime:
        return datetime.fromisoformat(_typed(str, content))
    return _typed(kind, content)


def _read_dataclass(kind: Any, content: Any) -> Any:
    fields, types_by_name = dataclasses.fields(kind), typing.get_type_hints(kind)
    content = _typed(dict, content)
    needed = [f.name for f in fields if f.name in content or f.default is dataclasses.MISSING]
    return kind(**{name: _read(types_by_name[name], content[name]) for name in needed})


def _read_union(kinds: tuple[Any, ...], content: Any) -> Any:
    """Reads the first kind that fits."""
    for kind in kinds:
        try:
            return None if kind is types.NoneType and content is None else _read(kind, content)
        except (KeyError, TypeError, ValueError):
            continue
    raise TypeError(f"{content!r} is none of {kinds}")


def _typed(kind: Any, content: Any) -> Any:
    if type(content) is not kind:
        raise TypeError(f"{content!r} is not {getattr(kind, '__name__', kind)}")
    return content
