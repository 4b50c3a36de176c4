"""Functions that JAX traces once, although a backbone calls them for each layer."""

import functools
from collections.abc import Callable
from typing import Any

import jax


def traced_once(*static: int) -> Callable[[Callable[..., Any]], Any]:
    """Has a function traced once for arguments of the same shapes, wherever it is called.

    A backbone calls the same operations on the same shapes again and again, and JAX transposes each
    several times. The operations become part of the program that calls the function, which is the
    same as without this.

    Args:
      static: positions of the arguments that are no arrays.
    """
    return functools.partial(jax.jit, static_argnums=static, inline=True)
