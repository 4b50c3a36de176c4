"""Lists the labelled images of a folder, a zip, or a list in CSV or JSON lines.

In a folder or zip, each image lies in the folder of its class: 'bees/1.jpg'. Folders called train,
val (or valid, validation) and test may stand above those: 'train/bees/1.jpg'. A list names the
image, its class, and if it likes the split and a group, such as the person on it.
"""

import contextlib
import csv
import dataclasses
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from cifsel.data.photos import files
from cifsel.data.photos.files import File
from cifsel.errors import UserError, one_line, printable
from cifsel.runtime import remote
from cifsel.runtime.paths import is_file, is_folder
from cifsel.runtime.remote import AnyPath

TRAIN, VAL, TEST = "train", "val", "test"
# Names of folders, and of splits in a list, as people write them.
SPLIT_NAMES = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VAL,
    "valid": VAL,
    "validation": VAL,
    "test": TEST,
    "testing": TEST,
}
LISTS = (".csv", ".jsonl")
_MAX_LIST_BYTES = 500_000_000
_FIELDS = ("path", "label", "split", "group")
_LAYOUT = (
    "expected a sub-folder for each of two or more classes, as in bees/1.jpg and ants/2.jpg, or"
    " train/, val/ and test/ with such sub-folders in them"
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A labelled image of a source.

    Attributes:
      name: its path within the source, printable and distinct.
      label: the name of its class.
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
      UserError: there is no such source, it has fewer than two classes, or a file that is in none,
        or a list has a line that cannot be used.
    """
    path = remote.absolute(remote.path(source))
    if path.suffix.lower() in LISTS and is_file(path):
        entries = _from_list(path)
    elif is_folder(path) or files.is_zip(path):
        entries = _from_folders(path, list(files.listing(path, "", stack)))
    else:
        raise UserError(f"{source}: no such folder, zip, .csv or .jsonl file; {_LAYOUT}")
    labels = {entry.label for entry in entries}
    if len(labels) < 2:
        summary = f"one class, '{labels.pop()}'" if labels else "no images"
        raise UserError(f"{source}: {summary}; {_LAYOUT}")
    return sorted(entries, key=lambda entry: entry.name)


# --- folders and zips ----------------------------------------------------------------------------


def _from_folders(source: AnyPath, listed: list[File]) -> list[Entry]:
    parts = _unwrapped([file.name.split("/") for file in listed])
    tops = {part[0].casefold() for part in parts if len(part) > 1}
    has_splits = bool(tops) and tops <= SPLIT_NAMES.keys()
    depth = 2 if has_splits else 1
    outside = [file.name for file, part in zip(listed, parts, strict=True) if len(part) <= depth]
    if outside:
        raise UserError(
            f"{source}: {outside[0]} is not in the folder of a class"
            f"{f', nor are {len(outside) - 1} others' if outside[1:] else ''}: move or remove it;"
            f" {_LAYOUT}"
        )
    return [
        Entry(
            name="/".join(part),
            label=part[depth - 1],
            split=SPLIT_NAMES[part[0].casefold()] if has_splits else "",
            group="",
            file=file,
        )
        for file, part in zip(listed, parts, strict=True)
    ]


def _unwrapped(paths: list[list[str]]) -> list[list[str]]:
    """Drops folders that everything is in, as zips and downloads have, down to the classes."""
    while paths and len({path[0] for path in paths}) == 1 and all(len(path) > 2 for path in paths):
        paths = [path[1:] for path in paths]
    return paths


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
    size = path.stat().length if remote.is_remote(path) else path.stat().st_size
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
    split = SPLIT_NAMES.get(texts["split"].casefold())
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
