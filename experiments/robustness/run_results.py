"""Reads a workdir for the crash matrix: results, damaged files, temporary files."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath
from PIL import Image

from cifsel.workdir import checksums
from cifsel.workdir.checkpoints import FOLDER, KEPT

# The folder of a checkpoint that orbax has not finished. It gets its final name when it is whole.
_UNFINISHED = ".orbax-checkpoint-tmp"
# Results that may differ between equal runs. `inputs` are digests of files that have them.
_VARYING = (
    "seconds",
    "images_per_second",
    "waiting",
    "command",
    "finished",
    "git_commit",
    "inputs",
)


class Wrong(Exception):  # noqa: N818
    """A check of the crash matrix failed."""


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def finished(workdir: Path) -> dict[Path, str]:
    """Files of finished runs with their digests. A disturbance must not change them."""
    names = ("metrics.json", "predictions.npz", "config.json")
    return {path: digest(path) for name in names for path in workdir.rglob(name)}


def check_whole(workdir: Path) -> None:
    """Checks that every file with its final name is whole, and the checkpoints to go on from.

    Raises:
      Wrong: a file or checkpoint is damaged.
    """
    for path in (path for path in workdir.rglob("[!.]*") if path.is_file()):
        if any(part.endswith(_UNFINISHED) for part in path.parts):
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".npz":
                with path.open("rb") as file, np.load(file) as arrays:
                    for name in arrays.files:
                        arrays[name]
            elif path.suffix == ".npy":
                np.load(path)
            elif path.suffix == ".png":
                with Image.open(path) as image:
                    image.load()
            elif path.suffix == ".html" and not path.read_text().rstrip().endswith("</html>"):
                raise ValueError("</html> is missing")
        except Exception as error:
            raise Wrong(f"{path} is not whole: {error}") from error
    for folder in workdir.rglob(FOLDER):
        steps = sorted((path for path in folder.iterdir() if path.name.isdigit()), key=_step)
        # Older ones are deleted, file by file, once these are whole. The process may die meanwhile.
        for checkpoint in steps[-KEPT:]:
            if wrong := checksums.damage(epath.Path(checkpoint)):
                raise Wrong(f"{checkpoint} is not whole: {wrong}")


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name)


def results(workdir: Path) -> dict[str, Any]:
    """All results of a finished run, by file and key.

    Raises:
      Wrong: there are none.
    """
    values: dict[str, Any] = {}

    def add(where: str, value: Any) -> None:
        if isinstance(value, dict | list):
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            for key, below in pairs:
                if not any(word in str(key) for word in _VARYING):
                    add(f"{where}/{key}", below)
        else:
            values[where] = value

    for path in sorted(workdir.rglob("*.json")):
        if "checkpoints" not in path.parts and path.name != "config.json":
            add(str(path.relative_to(workdir)), json.loads(path.read_text()))
    for path in workdir.rglob("*.npz"):
        values[str(path.relative_to(workdir))] = digest(path)
    if not values:
        raise Wrong("no results")
    return values


def differences(expected: dict[str, Any], actual: dict[str, Any]) -> list[str]:
    """The first five keys whose values differ."""
    return sorted(
        key
        for key in expected.keys() | actual.keys()
        if expected.get(key, "absent") != actual.get(key, "absent")
    )[:5]


def left_over(workdir: Path) -> list[str]:
    """Temporary files and caches, which a finished run has to remove."""
    names = []
    for path in sorted(workdir.rglob("*")):
        parts = path.relative_to(workdir).parts
        if any(part.startswith(".") or "tmp" in part or part == "cache" for part in parts):
            names.append("/".join(parts))
    return names
