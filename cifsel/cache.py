"""Where things are kept between runs, for all projects of a user."""

import os
from pathlib import Path


def folder() -> Path:
    """CIFSEL_CACHE of the environment, else $XDG_CACHE_HOME/cifsel, else ~/.cache/cifsel."""
    given = os.environ.get("CIFSEL_CACHE")
    return Path(
        given or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "cifsel"
    ).expanduser()
