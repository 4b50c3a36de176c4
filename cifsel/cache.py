"""Where things are kept between runs, for all projects of a user."""

import contextlib
import os
from pathlib import Path


def folder() -> Path:
    """CIFSEL_CACHE of the environment, else $XDG_CACHE_HOME/cifsel, else ~/.cache/cifsel."""
    given = os.environ.get("CIFSEL_CACHE")
    return Path(
        given or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "cifsel"
    ).expanduser()


def keep_compiled() -> None:
    """Lets JAX keep compiled code between runs, unless the environment says where, or not at all.

    Call before JAX is imported. JAX_ENABLE_COMPILATION_CACHE=false turns it off.
    """
    compiled = folder() / "compiled"
    with contextlib.suppress(OSError):  # A home that cannot be written to costs time, no more.
        compiled.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(compiled))
