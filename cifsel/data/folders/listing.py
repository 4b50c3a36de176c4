"""Lists the labelled images of a folder, a zip, or a list in CSV or JSON lines.

In a folder or zip, each image lies in the folder of its class: 'bees/1.jpg'. Folders called train,
val and test may stand above those: 'train/bees/1.jpg'. A list names the image, its class, and if it
likes the split and a group, such as the person on it.
"""

import contextlib
import csv
import dataclasses
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from etils import epath

from cifsel.data.photos import layout
from cifsel.data.photos.files import File
from cifsel.data.photos.sources import labelled_files
from cifsel.errors import UserError, one_line, printable
from cifsel.runtime import remote
from cifsel.runtime.paths import is_file
from cifsel.runtime.remote import AnyPath

TRAIN, VAL, TEST = "train", "val", "test"
LISTS = (".csv", ".jsonl")
_MAX_LIST_BYTES = 500_000_000
_FIELDS = ("path", "label", "split", "group")
_MAX_FILES, _MAX_ZIP_BYTES = 2_000_000, 10**12


@dataclasses.dataclass(frozen=True)
class Entry:
    """A labelled image of a source.

    Attributes:
      name: its path within the source, printable and distinct.
      label: the name of its class. Empty if it lies in no class, and cannot be used.
      split: 'train', 'val' or 'test'. Empty if the source does not say.
      group: images of a group must be on one side of a split. Empty for a group of its own.
      file: the file to read.
    """

    name: str
    label: str
    split: str
    group: str
    file: File


def list_images(source: str, stack: contextlib.ExitStack) -> list[Entry]:
    """Lists the images of a source, sorted by name.

    Args:
      source: a folder, a zip, or a .csv or .jsonl file, local or on gs://.
      stack: closes the zip.

    Raises:
      UserError: there is no such source, it has fewer than two classes, or a list has a line that
        cannot be used.
    """
    path = remote.absolute(remote.path(source))
    if path.suffix.lower() in LISTS and is_file(path):
        entries = _from_list(path)
    else:
        limits = {"max_files": _MAX_FILES, "max_zip_bytes": _MAX_ZIP_BYTES}
        entries = [
            Entry(labelled.file.name, labelled.label, labelled.split, "", labelled.file)
            for labelled in labelled_files(source, stack, **limits)
        ]
    return sorted(entries, key=lambda entry: entry.name)


# --- lists ---------------------------------------------------------------------------------------


def read_split(source: str) -> dict[str, str]:
    """Reads the split of a list whose columns `path` and `split` are filled: path -> split.

    Raises:
      UserError: there is no such file, or a line has no split.
    """
    path = remote.absolute(remote.path(source))
    if not is_file(path):
        raise UserError(f"{source}: no such file; expected a CSV file with path, label and split")
    split_of = {}
    for number, row in _csv_rows(path):
        entry = _entry(path, number, row)
        if not entry.split:
            raise UserError(f"{source}: line {number} has no split; expected train, val or test")
        split_of[entry.name] = entry.split
    return split_of


def _from_list(path: AnyPath) -> list[Entry]:
    rows = list(_csv_rows(path) if path.suffix.lower() == ".csv" else _json_rows(path))
    entries = [_entry(path, number, row) for number, row in rows]
    labels = {entry.label for entry in entries}
    if len(labels) < 2:
        summary = f"one class, '{labels.pop()}'" if labels else "no images"
        raise UserError(f"{path}: {summary}; expected images of two or more classes")
    counts = Counter(entry.name for entry in entries)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise UserError(f"{path}: names {twice[0]} twice: keep one of its lines")
    lost = [entry.name for entry in entries if not is_file(entry.file.path)]
    if lost:
        raise UserError(
            f"{path}: {len(lost)} of {len(entries)} images are not there, as {lost[0]}; expected"
            " paths from the folder of the list: correct or remove the lines"
        )
    return entries


def _text(path: AnyPath) -> str:
    size = epath.Path(path).stat().length
    if size > _MAX_LIST_BYTES:
        raise UserError(
            f"{path}: {size / 1e6:.0f} MB; expected {_MAX_LIST_BYTES / 1e6:.0f} at most"
        )
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not in UTF-8 ({one_line(error)}): save it as UTF-8") from error


def _csv_rows(path: AnyPath) -> Iterator[tuple[int, Mapping[str, object]]]:
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
    header = reader.fieldnames or []
    if not {"path", "label"} <= set(header) <= set(_FIELDS) or len(set(header)) < len(header):
        raise UserError(
            f"{path}: the first line is {','.join(header)!r}; expected"
            " 'path,label', 'path,label,split' or 'path,label,split,group'"
        )
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num} is not CSV ({error})") from error


def _json_rows(path: AnyPath) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: line {number} is not JSON ({one_line(error)})") from error
        if not isinstance(row, dict) or not {"path", "label"} <= row.keys() <= set(_FIELDS):
            raise UserError(
                f"{path}: line {number} is {line[:80]!r}; expected an object with 'path' and"
                " 'label', and perhaps 'split' and 'group'"
            )
        yield number, row


def _entry(source: AnyPath, number: int, row: Mapping[str, object]) -> Entry:
    values = {name: row.get(name) for name in _FIELDS}
    given = {name: value or "" for name, value in values.items()}
    texts = {name: str(value).strip() for name, value in given.items()}
    split = layout.split_of(texts["split"])
    if None in row or not texts["path"] or not texts["label"]:
        raise UserError(
            f"{source}: line {number} is {list(row.values())!r}; expected a path and a label"
        )
    if texts["split"] and split is None:
        raise UserError(
            f"{source}: line {number} has the split {texts['split']!r}; expected train, val, test"
            " or nothing"
        )
    name = printable(texts["path"])
    path = source.parent / texts["path"]
    if ".." in PurePosixPath(texts["path"]).parts:
        raise UserError(f"{source}: line {number} names {name}; expected a path without '..'")
    return Entry(name, printable(texts["label"]), split or "", texts["group"], File(name, path))
