"""The files of an export: the model, FILE.json with its metadata, and FILE.md with its use."""

import dataclasses
import hashlib
import json
from pathlib import Path

from etils import epath

from cifsel import workdir
from cifsel.errors import UserError
from cifsel.prediction.exports import usage
from cifsel.prediction.exports.metadata import Metadata
from cifsel.runtime import regular

_MAX_BYTES = 4_000_000_000


@dataclasses.dataclass(frozen=True)
class Export:
    """An export that has been checked, and can be written.

    Attributes:
      content: of the file.
      metadata: what it says of itself.
      difference: largest difference to `cifsel.predict` in a probability. None for weights alone.
      notes: lines to say beside it.
    """

    content: bytes
    metadata: Metadata
    difference: float | None
    notes: tuple[str, ...] = ()


def check(path: Path, overwrite: bool) -> None:
    """Makes sure that a file may be written.

    Raises:
      UserError: there is something that is no export of cifsel, or the folder cannot be written.
    """
    if path.exists() and not overwrite and not _is_ours(path):
        raise UserError(
            f"{path} is there, and is no unchanged export of cifsel: give another --output, or"
            " --overwrite"
        )
    if path.is_dir():
        raise UserError(f"{path} is a folder: give the name of a file to --output")
    workdir.make(epath.Path(path.parent), "output")


def write(path: Path, export: Export) -> None:
    """Writes the three files. Each is complete or not there, whenever the process dies.

    Raises:
      UserError: there is no room, or no right to write.
    """
    described = export.metadata.to_json() | {
        "largest_difference": export.difference,
        "sha256": hashlib.sha256(export.content).hexdigest(),
    }
    workdir.write_bytes(epath.Path(path), export.content)
    workdir.write_json(epath.Path(f"{path}.json"), described)
    text = usage.page(path.name, export.metadata)
    workdir.write_bytes(epath.Path(f"{path}.md"), text.encode())


def _is_ours(path: Path) -> bool:
    """Whether a file is as `write` wrote it."""
    try:
        described = json.loads(regular.content(Path(f"{path}.json"), workdir.MAX_JSON_BYTES))
        content = regular.content(path, _MAX_BYTES)
        return described["sha256"] == hashlib.sha256(content).hexdigest()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
