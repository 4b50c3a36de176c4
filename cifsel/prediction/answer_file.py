"""A file of answers, one a line, with which an interrupted command goes on.

Beside FILE, FILE.resume.json says which job writes it, until the job is done. Lines are appended as
answers come, which gs:// cannot do.
"""

import collections
import contextlib
import csv
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from etils import epath

from cifsel import workdir
from cifsel.data.photos.search import Item
from cifsel.errors import MAKE_ROOM, UserError, one_line, printable
from cifsel.prediction import formats
from cifsel.prediction.predictor import JAX
from cifsel.runtime import remote
from cifsel.runtime.paths import exists, is_file
from cifsel.runtime.terminal import count

_SHOWN = 12  # characters of a digest


@dataclasses.dataclass(frozen=True)
class Job:
    """All that the answers of a file have in common.

    Attributes:
      checkpoint: digest of the model.
      form: 'jsonl' or 'csv'.
      coverage: of sets of classes. None without sets.
      shard: such as '3/16'. '' for all photos.
      runtime: what computes, as in `Predictor`.
    """

    checkpoint: str
    form: str
    coverage: float | None
    shard: str
    runtime: str = JAX


class AnswerFile:
    """A local file to which answers are appended.

    Args:
      given: its path.
      form: of the lines, 'jsonl' or 'csv'.
      resume: go on with a file that is there.

    Attributes:
      path: of the file.

    Raises:
      UserError: it cannot be written, or is there already.
    """

    def __init__(self, given: str, form: str, *, resume: bool) -> None:
        if remote.is_remote(given):
            raise UserError(
                f"output {given}: lines cannot be appended on gs://: give a file of this machine"
                " and copy it, or --json"
            )
        self.path, self._form = Path(given), form
        self._note = epath.Path(f"{given}.resume.json")
        self._file: BinaryIO | None = None
        check_new(given, "give --resume to go on with it, or another --output", resume=resume)

    def is_finished(self) -> bool:
        """Whether there are lines, and no job that is to write more of them."""
        return any(True for _ in self._lines()) and not exists(self._note)

    def check_complete(self, items: Sequence[Item]) -> None:
        """Raises UserError if a finished file has no line of some photos."""
        if missing := self.missing(items):
            raise UserError(
                f"output {self.path} is finished, but has no answer for {len(missing):,} of"
                f" {count(len(items), 'photo')}, such as {missing[0].photo}: give another --output"
            )

    def missing(self, items: Sequence[Item]) -> list[Item]:
        """The photos that the file has no line of, in order. One given twice has two lines.

        Raises:
          UserError: a line is no answer.
        """
        answered = collections.Counter(self._photos())
        missing = []
        for item in items:
            name = formats.name_in(self._form, item.photo)
            if answered[name]:
                answered[name] -= 1
            else:
                missing.append(item)
        return missing

    @contextlib.contextmanager
    def writing(self, job: Job) -> Iterator[bool]:
        """Lets the block `write` lines of a job. Drops a last line that is half-written.

        The job is done when the block ends without an exception.

        Yields:
          Whether the file is empty.

        Raises:
          UserError: it holds lines of another job, or cannot be written.
        """
        size = sum(map(len, self._lines()))
        fields = {name: str(value)[:_SHOWN] for name, value in dataclasses.asdict(job).items()}
        if size:
            # Notes of older versions do not name what computes.
            before = {"runtime": JAX} | workdir.read_json(self._note)
            changed = [
                f"{name}: {before.get(name)!r} -> {value!r}"
                for name, value in fields.items()
                if before.get(name) != value
            ]
            if changed:
                raise UserError(
                    f"output {self.path} is of another job ({'; '.join(changed)}): give the same"
                    " command again, or another --output"
                )
        else:
            workdir.write_json(self._note, fields)
        with contextlib.ExitStack() as stack:
            try:
                self._file = stack.enter_context(self.path.open("ab"))
                self._file.truncate(size)
            except OSError as error:
                raise self._cannot_write(error) from None
            yield not size
        self._note.unlink()

    def write(self, line: str) -> None:
        """Appends a line.

        Raises:
          UserError: there is no room.
        """
        assert self._file, "only within `writing`"
        try:
            self._file.write(f"{line}\n".encode())
            self._file.flush()
        except OSError as error:
            raise self._cannot_write(error) from None

    def _cannot_write(self, error: OSError) -> UserError:
        reason = error.strerror or one_line(error)
        return UserError(
            f"output {self.path} cannot be written ({reason}): {MAKE_ROOM}, and give the same"
            " command with --resume"
        )

    def _lines(self) -> Iterator[bytes]:
        """Yields the complete lines of the file, with their ends."""
        if not is_file(self.path):
            return
        with self.path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))

    def _photos(self) -> Iterator[str]:
        """Yields the photo of each line."""
        for number, line in enumerate(self._lines(), 1):
            if number == 1 and self._form == formats.CSV:
                continue  # the header
            try:
                yield formats.photo_of(line.decode(), self._form)
            except (ValueError, RecursionError, csv.Error) as error:
                raise UserError(
                    f"output {self.path}: line {number} is no answer of --{self._form}"
                    f" ({one_line(error)}): give another --output"
                ) from None


def check_new(given: str, advice: str, *, resume: bool = False) -> None:
    """Makes sure that a file can be written, and that nothing is lost. Makes its folder.

    Args:
      given: its path.
      advice: for a file that is there.
      resume: a file may be there.

    Raises:
      UserError: it is there and not empty, or no file, or its folder cannot be written.
    """
    path = epath.Path(given)
    workdir.make(path.parent, "output")
    if not exists(path):
        return
    if not is_file(path):
        raise UserError(f"output {printable(given)} is not a file: give the path of a file")
    if not resume and path.stat().length:
        raise UserError(f"output {printable(given)} is there already: {advice}")
