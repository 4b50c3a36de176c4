"""CLU writers made of others: one for each part of the data, and one that copies to gs://."""

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from etils import epath

from cifsel.errors import one_line
from cifsel.runtime import terminal

# Parts of the data whose scalars share charts.
PARTS = ("train", "val")
COPY_SECONDS = 60  # between copies of new summaries to gs://


class InParts:
    """CLU writers that share charts: one for the run, and one for each part of the data."""

    def __init__(self, make: Callable[[str], Any], folder: str) -> None:
        self._make, self._folder = make, folder
        self._whole, self._parts = make(folder), dict[str, Any]()

    def __getattr__(self, name: str) -> Callable[..., None]:
        """A method of the writer of the run."""
        return getattr(self._whole, name)

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes each scalar to the part that its name begins with, or else to the run."""
        by_part: dict[str, dict[str, float]] = {}
        for name, value in scalars.items():
            part, _, rest = name.partition("/")
            owner, own_name = (part, rest) if part in PARTS else ("", name)
            by_part.setdefault(owner, {})[own_name] = value
        for part, own in by_part.items():
            self._writer_of(part).write_scalars(step, own)

    def _writer_of(self, part: str) -> Any:
        if not part:
            return self._whole
        if part not in self._parts:
            self._parts[part] = self._make(os.fspath(Path(self._folder) / part))
        return self._parts[part]

    def flush(self) -> None:
        """Flushes all writers."""
        for writer in (self._whole, *self._parts.values()):
            writer.flush()

    def close(self) -> None:
        """Closes all writers."""
        for writer in (self._whole, *self._parts.values()):
            writer.close()


class Copied:
    """A CLU writer to a local folder, whose files are copied to gs:// every `COPY_SECONDS`.

    TensorFlow can write to gs:// itself. It would also send the whole file each time, and reaches
    no server but Google's.
    """

    def __init__(self, make: Callable[[str], Any], target: epath.Path) -> None:
        self._target, self._warned = target, False
        self._folder = tempfile.TemporaryDirectory(prefix="cifsel-")
        self._clu = make(self._folder.name)
        self._copied = time.monotonic()

    def __getattr__(self, name: str) -> Callable[..., None]:
        """A method of the CLU writer, followed by a copy if it is time."""

        def call(*arguments: object) -> None:
            getattr(self._clu, name)(*arguments)
            if name in ("flush", "close"):
                self._copy()
            elif time.monotonic() - self._copied > COPY_SECONDS:
                self._clu.flush()
                self._copy()
            if name == "close":
                self._folder.cleanup()

        return call

    def _copy(self) -> None:
        try:
            folder = Path(self._folder.name)
            for file in (path for path in folder.rglob("*") if path.is_file()):
                copy = self._target / file.relative_to(folder).as_posix()
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(file.read_bytes())
        except Exception as error:  # gcsfs raises many classes, and the run needs no summaries.
            if not self._warned:
                terminal.warn(
                    f"TensorBoard summaries are not in {self._target} ({one_line(error)})."
                    " The run itself needs none."
                )
            self._warned = True
        self._copied = time.monotonic()
