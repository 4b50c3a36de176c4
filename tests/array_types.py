"""Run-time checks of the array types (jaxtyping) in the annotations of functions."""

from collections.abc import Callable
from typing import Any, get_args

import beartype
from jaxtyping import AbstractArray


def check(function: Callable) -> Callable:
    """Makes a function check its arrays at each call; the type checker of jaxtyping's import hook.

    Only annotations with an array type are checked. The others are mypy's, as tests pass stand-ins
    for models and data sets.
    """
    types = function.__annotations__
    of_arrays = {name: types[name] for name in types if has_array(types[name])}
    if not of_arrays:  # Most functions. Beartype would take a second for all of them.
        return function
    function.__annotations__ = of_arrays
    return beartype.beartype(function)


def has_array(annotation: Any) -> bool:
    """True for an array type, and for a union or a container of array types."""
    if isinstance(annotation, type) and issubclass(annotation, AbstractArray):
        return True
    return any(has_array(argument) for argument in get_args(annotation))
