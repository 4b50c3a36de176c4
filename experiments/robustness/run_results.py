"""What a workdir holds: results to compare, files that have to be whole, and what is left over."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath
from PIL import Image

from cifsel import checksums

# Of results; all else has to be equal.
_OF_THE_MOMENT = ("seconds", "images_per_second", "command", "finished", "git_commit")


class Wrong(Exception):  # noqa: N818 - a finding
    """What should have held, and did not."""


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def finished(workdir: Path) -> dict[Path, str]:
    """What a disturbance must not take: files of finished runs, with their digests."""
    names = ("metrics.json", "predictions.npz", "config.json")
    return {path: digest(path) for name in names for path in workdir.rglob(name)}


def check_whole(workdir: Path) -> None:
    """Raises Wrong for a file that bears its final name and is not whole."""
    for path in (path for path in workdir.rglob("[!.]*") if path.is_file()):
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
                raise ValueError("it has no end")
        except Exception as error:
            raise Wrong(f"{path} is not whole: {error}") from error
    for checkpoint in workdir.rglob("checkpoints/*"):
        if checkpoint.name.isdigit() and (wrong := checksums.damage(epath.Path(checkpoint))):
            raise Wrong(f"{checkpoint} is not whole: {wrong}")


def results(workdir: Path) -> dict[str, Any]:
    """All numbers of a finished run, by where they stand."""
    found: dict[str, Any] = {}

    def add(where: str, value: Any) -> None:
        if isinstance(value, dict | list):
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            for key, below in pairs:
                if not any(word in str(key) for word in _OF_THE_MOMENT):
                    add(f"{where}/{key}", below)
        else:
            found[where] = value

    for path in sorted(workdir.rglob("*.json")):
        if "checkpoints" not in path.parts and path.name != "config.json":
            add(str(path.relative_to(workdir)), json.loads(path.read_text()))
    for path in workdir.rglob("*.npz"):
        found[str(path.relative_to(workdir))] = digest(path)
    if not found:
        raise Wrong("no results")
    return found


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Where results differ; the first few."""
    return sorted(
        key
        for key in expected.keys() | found.keys()
        if expected.get(key, "absent") != found.get(key, "absent")
    )[:5]


def left_over(workdir: Path) -> list[str]:
    """What a finished run no longer needs."""
    found = []
    for path in sorted(workdir.rglob("*")):
        parts = path.relative_to(workdir).parts
        if any(part.startswith(".") or "tmp" in part or part == "cache" for part in parts):
            found.append("/".join(parts))
    return found
