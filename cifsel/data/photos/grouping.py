"""Which photos must stay on one side of a split: copies of each other, bursts, the same person.

Copies are found by a fingerprint of 32 x 32 grey levels that is compared window by window. The
hashes of 64 bits that are usual for this (ImageHash's, for instance) are quicker, which does not
matter for some hundreds of photos, but cannot tell a copy from another expression of the same
person in the same place. On the 24 faces that this was tried on, a 64-bit DCT hash of a copy with
more contrast differed in up to 6 bits, of a face whose mouth and eyes were bent by about 10 of
350 pixels in 0 to 8. Were such photos joined, one person's would all be one group, and there
would be nothing to test on.
"""

import csv
import hashlib
import io
import itertools
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TextIO

import numpy as np
from PIL import Image
from scipy import sparse
from scipy.sparse import csgraph

from cifsel.data.photos.labelled import Photos
from cifsel.errors import UserError, one_line
from cifsel.runtime import remote
from cifsel.runtime.paths import expanded

# The windows of least correlation of copies (compressed to quality 10, halved, mirrored, 20 %
# brighter or darker, 30 % more contrast) correlate by .989 or more, of the bent faces above by .982
# or less, of photos of different people by .54 or less.
THRESHOLD = 0.985

MAX_CSV_BYTES = 10_000_000
_SIZE, _WINDOW, _STEP = 32, 16, 8  # pixels
_NOISE = 4.0  # grey levels: what compression alone may change, so that flat windows agree


def near_duplicates(images: Sequence[np.ndarray]) -> list[tuple[int, int, bool]]:
    """Finds copies: equal images, and those rescaled, recompressed, mirrored, tinted or brightened.

    What is cropped, or taken anew, is not a copy. Images without contrast have equal ones only.

    Args:
      images: (H, W, 3) uint8 each, of any sizes.

    Returns:
      (i, j, exact) with i < j for each pair, sorted; exact where all pixels are equal.
    """
    if not images:
        return []
    prints = np.array([_grey(image) for image in images])
    contrast = prints.std((1, 2)) > _NOISE
    alike = np.maximum(_agreement(prints, prints), _agreement(prints, prints[:, :, ::-1]))
    alike = (alike >= THRESHOLD) & contrast & contrast[:, None]
    digests = [hashlib.sha256(f"{image.shape}".encode() + image.tobytes()) for image in images]
    content = np.unique([digest.hexdigest() for digest in digests], return_inverse=True)[1]
    equal = content[:, None] == content
    pairs = np.argwhere(np.triu(alike | alike.T | equal, 1))
    return [(int(i), int(j), bool(equal[i, j])) for i, j in pairs]


def _grey(image: np.ndarray) -> np.ndarray:
    grey = Image.fromarray(image).convert("L")
    # The filter is that of an area average for whatever size the copy was.
    return np.asarray(grey.resize((_SIZE, _SIZE), Image.Resampling.BOX), np.float32)


def _agreement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The least correlation within a window, (N, M), of (N, 32, 32) with (M, 32, 32) float32."""
    least = np.ones((len(first), len(second)), np.float32)
    starts = range(0, _SIZE - _WINDOW + 1, _STEP)
    for top, left in itertools.product(starts, starts):
        flat = []
        for prints in (first, second):
            window = prints[:, top : top + _WINDOW, left : left + _WINDOW].reshape(len(prints), -1)
            flat.append((window - window.mean(1, keepdims=True)) / _WINDOW)
        a, b = flat
        power = np.outer((a**2).sum(1) + _NOISE**2, (b**2).sum(1) + _NOISE**2)
        least = np.minimum(least, (a @ b.T + _NOISE**2) / np.sqrt(power))
    return least


def groups(
    photos: Photos, *, burst_seconds: float, people: Mapping[str, str] | None = None
) -> np.ndarray:
    """Numbers groups of photos of which none may be tested on when another was trained on.

    Args:
      photos: N photos.
      burst_seconds: photos taken within this time of each other belong together; 0 or more. Times
          in different zones are compared as such; if a zone is missing, the clocks' faces are.
      people: name of a photo -> who is on it; photos that it lacks show someone else each.

    Returns:
      int32 (N,), 0..G-1 in order of first appearance. Chains are one group: of three photos, each
      within the time of the next, the first and last belong together as well.

    Raises:
      UserError: `burst_seconds` is negative or not a number.
    """
    if not burst_seconds >= 0:
        raise UserError(f"burst_seconds is {burst_seconds}: give 0 or more")
    joined = [(i, j) for i, j, _ in near_duplicates(photos.images)]
    timed = [(i, time) for i, time in enumerate(photos.taken) if time]
    for (i, first), (j, second) in itertools.combinations(timed, 2):
        if _seconds_between(first, second) <= burst_seconds:
            joined.append((i, j))
    first_of: dict[str, int] = {}
    for i, name in enumerate(photos.names):
        if people and name in people:
            joined.append((first_of.setdefault(people[name], i), i))
    rows, columns = np.array(joined, np.int64).reshape(-1, 2).T
    shape = len(photos.names), len(photos.names)
    graph = sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape)
    component = csgraph.connected_components(graph, directed=False)[1]
    _, first_seen, inverse = np.unique(component, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first_seen))[inverse].astype(np.int32)


def _seconds_between(first: datetime, second: datetime) -> float:
    if (first.tzinfo is None) != (second.tzinfo is None):
        first, second = first.replace(tzinfo=None), second.replace(tzinfo=None)
    return abs((first - second).total_seconds())


def people_from_csv(path: str | os.PathLike[str]) -> dict[str, str]:
    """Reads who is on which photo.

    Args:
      path: a CSV file in UTF-8 whose first line is 'photo,person'; photos are named as in
          `Photos.names`.

    Returns:
      Name of a photo -> person.

    Raises:
      UserError: no such file, other columns, an empty field, or two people for one photo.
    """
    people: dict[str, str] = {}
    try:
        # Spreadsheets write a byte order mark.
        with _text(path) as file:
            rows = csv.reader(file, strict=True)
            header = [cell.strip() for cell in next(rows, [])]
            if header != ["photo", "person"]:
                raise UserError(
                    f"{path}: the first line is {','.join(header)!r}; expected 'photo,person'"
                )
            for row in rows:
                if not any(row):
                    continue
                cells = [unicodedata.normalize("NFC", cell.strip()) for cell in row]
                if len(cells) != 2 or not all(cells):
                    raise UserError(
                        f"{path}: line {rows.line_num} is {','.join(row)!r}; expected a photo and "
                        "a person"
                    )
                if people.setdefault(cells[0], cells[1]) != cells[1]:
                    raise UserError(
                        f"{path}: line {rows.line_num} says that {cells[0]!r} shows {cells[1]!r}, "
                        f"an earlier one {people[cells[0]]!r}: keep one of them"
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path}: cannot be read as CSV in UTF-8 ({one_line(error)}); expected lines"
            " 'photo,person'"
        ) from error
    return people


def _text(path: str | os.PathLike[str]) -> TextIO:
    if remote.is_remote(path):
        return io.StringIO(remote.path(path).read_bytes().decode("utf-8-sig"), newline="")
    source = Path(expanded(os.fspath(path)))
    # Opening a pipe would wait for ever, and a device never ends.
    if source.exists() and not (source.is_file() and source.stat().st_size <= MAX_CSV_BYTES):
        raise OSError(f"not a file of {MAX_CSV_BYTES / 1e6:.0f} MB at most")
    return source.open(encoding="utf-8-sig", newline="")


def check_people(
    people: Mapping[str, str], names: Sequence[str], path: str | os.PathLike[str]
) -> None:
    """Checks that people are named for photos that there are.

    Args:
      people: as `people_from_csv` returns it.
      names: `Photos.names`.
      path: where `people` comes from, for the message.

    Raises:
      UserError: some photo is not among `names`.
    """
    unknown = sorted(set(people) - set(names))
    if unknown:
        raise UserError(
            f"{path}: no photo {unknown[0]!r} ({len(unknown)} of {len(people)} are unknown); "
            f"expected names such as {names[0]!r}"
        )


def people_from_names(names: Sequence[str], pattern: str) -> dict[str, str]:
    """Takes from the names of photos who is on them.

    Args:
      names: `Photos.names`.
      pattern: a regular expression, searched in each name, whose one group is the person: with
          '/([a-z]+)_' the photo 'happy/anna_3.jpg' shows 'anna'.

    Returns:
      Name of a photo -> person, without the photos whose name does not match.

    Raises:
      UserError: not a regular expression with one group, or it matches no name.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"pattern {pattern!r}: no regular expression ({error})") from error
    if compiled.groups != 1:
        raise UserError(
            f"pattern {pattern!r} has {compiled.groups} groups; expected one pair of brackets, "
            "round the person"
        )
    matches = ((name, compiled.search(name)) for name in names)
    people = {name: match[1] for name, match in matches if match and match[1]}
    if not people:
        raise UserError(
            f"pattern {pattern!r} matches none of {len(names)} photos; expected it to find the "
            f"person in names such as {names[0]!r}"
        )
    return people
