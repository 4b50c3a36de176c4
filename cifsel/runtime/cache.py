"""The folder for downloads and compiled code, which all runs of a user share."""

import contextlib
import os
from pathlib import Path


def folder() -> Path:
    """$CIFSEL_CACHE, else $XDG_CACHE_HOME/cifsel, else ~/.cache/cifsel."""
    given = os.environ.get("CIFSEL_CACHE")
    return Path(
        given or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "cifsel"
    ).expanduser()


def keep_compiled() -> None:
    """Lets JAX keep compiled code between runs. JAX's environment variables come first.

    JAX_ENABLE_COMPILATION_CACHE=false turns it off.
    """
    import jax  # Not at the top: `folder` does not need it.

    compiled = folder() / "compiled"
    settings = {
        "jax_compilation_cache_dir": str(compiled),
        # Many small programs take as long as a large one. JAX's default is a second.
        "jax_persistent_cache_min_compile_time_secs": 0.1,
    }
    with contextlib.suppress(OSError):  # A home that cannot be written only costs time.
        compiled.mkdir(parents=True, exist_ok=True)
        for name, value in settings.items():
            if name.upper() not in os.environ:
                jax.config.update(name, value)
