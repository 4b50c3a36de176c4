"""The model that cifsel comes with, for answers without any training."""

from pathlib import Path

from cifsel.runtime.paths import is_file

# The better one of those in experiments/models. experiments/models/README.md is about both.
NAME = "efficientnetv2-b0.safetensors"
# In a checkout the files are in `experiments/models`, in an installation in `cifsel/published`.
_PACKAGE = Path(__file__).parents[1]
FOLDERS = (_PACKAGE / "published", _PACKAGE.parent / "experiments" / "models")


def path() -> str:
    """The path of the model. '' if there is none."""
    files = (folder / NAME for folder in FOLDERS)
    return next((str(file) for file in files if is_file(file)), "")
