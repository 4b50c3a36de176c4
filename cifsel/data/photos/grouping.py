"""Groups photos that must stay on one side of a split: copies, bursts, photos of the same person.

`cifsel.data.copies` finds copies by 32 x 32 grey levels, compared window by window. The usual
hashes of 64 bits, as ImageHash has them, are quicker. But they cannot tell a copy from another
expression of the same person in the same place. This was tried on 24 faces. A 64-bit DCT hash of a
copy with more contrast differed in up to 6 bits. For a face whose mouth and eyes were bent by about
10 of 350 pixels, it differed in 0 to 8. If such photos were joined, all photos of a person could be
one group, and none would be left to test on.
"""

import bisect
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
from jaxtyping import Int, Int32, UInt8

from cifsel.data import copies
from cifsel.data.photos.labelled import Photos
from cifsel.errors import UserError, one_line
from cifsel.runtime import remote
from cifsel.runtime.paths import expanded
from cifsel.runtime.terminal import count

MAX_CSV_BYTES = 10_000_000


def near_duplicates(
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]],
) -> list[tuple[int, int, bool]]:
    """Finds copies: equal images, and those rescaled, recompressed, mirrored, tinted or brightened.

    A cropped photo, or another shot of the same scene, is not a copy. An image without contrast is
    a copy of equal images only.

    Args:
      images: of any sizes.

    Returns:
      (i, j, exact) with i < j for each pair, sorted. `exact` is True if all pixels are equal.
    """
    if not images:
        return []
    near = copies.near_copies(np.stack([copies.thumbnail(image) for image in images]))
    digests = [hashlib.sha256(f"{image.shape}".encode() + image.tobytes()) for image in images]
    places: dict[str, list[int]] = {}
    for place, digest in enumerate(digests):
        places.setdefault(digest.hexdigest(), []).append(place)
    equal = {pair for same in places.values() for pair in itertools.combinations(same, 2)}
    alike = equal | {(int(i), int(j)) for i, j in near}
    return [(*pair, pair in equal) for pair in sorted(alike)]


def groups(
    photos: Photos,
    *,
    burst_seconds: float,
    people: Mapping[str, str] | None = None,
    by_day: bool = False,
) -> Int32[np.ndarray, " n"]:
    """Numbers groups of photos. A split must not divide a group.

    Args:
      photos: N photos.
      burst_seconds: photos taken within this time of each other belong together. 0 leaves times
          out. Zones of time count if both photos have one. Otherwise local times are compared.
      people: name of a photo -> the person on it. Each photo that it lacks shows another person.
      by_day: photos taken on the same day belong together.

    Returns:
      Numbers 0..G-1, in order of first appearance. Chains are one group: of three photos, each
      within the time of the next, the first and last belong together too.

    Raises:
      UserError: `burst_seconds` is negative or not a number.
    """
    if not burst_seconds >= 0:
        raise UserError(f"burst_seconds is {burst_seconds}: give 0 or more")
    joined = [(i, j) for i, j, _ in near_duplicates(photos.images)]
    if burst_seconds:
        joined += _bursts(photos.taken, burst_seconds)
    if by_day:
        day_of = days(photos.taken)
        joined += [
            (i, j) for i, j in itertools.pairwise(np.argsort(day_of)) if day_of[i] == day_of[j]
        ]
    first_of: dict[str, int] = {}
    for i, name in enumerate(photos.names):
        if people and name in people:
            joined.append((first_of.setdefault(people[name], i), i))
    return connected(np.array(joined, np.int64).reshape(-1, 2), len(photos.names))


def days(taken: Sequence[datetime | None]) -> Int[np.ndarray, " n"]:
    """Numbers the days on which photos were taken. A photo without a time has its own number."""
    known = [time.toordinal() if time else -number for number, time in enumerate(taken, start=1)]
    return np.array(known, np.int64)


def connected(pairs: Int[np.ndarray, "pairs 2"], count: int) -> Int32[np.ndarray, " {count}"]:
    """Numbers the groups of things that pairs join, 0..G-1 in order of first appearance."""
    from scipy import sparse  # Takes a quarter of a second, for which `predict` need not wait.
    from scipy.sparse import csgraph

    graph = sparse.coo_array((np.ones(len(pairs)), tuple(pairs.T)), (count, count))
    component = csgraph.connected_components(graph, directed=False)[1]
    _, first_seen, inverse = np.unique(component, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first_seen))[inverse].astype(np.int32)


def _bursts(taken: Sequence[datetime | None], within: float) -> list[tuple[int, int]]:
    """Pairs that join all photos taken within this time of each other, in seconds.

    Each photo is joined to the next one in time only, as chains are one group. Two photos that both
    have a zone of time are compared by it. All other pairs are compared by local time.
    """
    local = _since_first({i: time.replace(tzinfo=None) for i, time in enumerate(taken) if time})
    zoned = _since_first({i: time for i, time in enumerate(taken) if time and time.tzinfo})
    plain = sorted(local.keys() - zoned.keys(), key=local.__getitem__)
    pairs = [
        (i, j, zoned[j] - zoned[i])
        for i, j in itertools.pairwise(sorted(zoned, key=zoned.__getitem__))
    ]
    pairs += [(i, j, local[j] - local[i]) for i, j in itertools.pairwise(plain)]
    ordered = [local[i] for i in plain]
    for i in zoned:
        after = bisect.bisect(ordered, local[i])
        nearest = plain[max(after - 1, 0) : after + 1]
        pairs += [(i, j, abs(local[j] - local[i])) for j in nearest]
    return [(i, j) for i, j, apart in pairs if apart <= within]


def _since_first(times: Mapping[int, datetime]) -> dict[int, float]:
    """Seconds from the first of the times to each of them."""
    first = min(times.values(), default=datetime.min)
    return {i: (time - first).total_seconds() for i, time in times.items()}


def people_from_csv(path: str | os.PathLike[str]) -> dict[str, str]:
    """Reads who is on which photo.

    Args:
      path: a CSV file in UTF-8 whose first line is 'photo,person'. Photos are named as in
          `Photos.names`.

    Returns:
      Name of a photo -> person.

    Raises:
      UserError: there is no such file, or it has other columns, an empty field, or two people for
        the same photo.
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
    # Opening a pipe would wait without end, and a device never ends.
    if source.exists() and not (source.is_file() and source.stat().st_size <= MAX_CSV_BYTES):
        raise OSError(f"not a file of {MAX_CSV_BYTES / 1e6:.0f} MB at most")
    return source.open(encoding="utf-8-sig", newline="")


def check_people(
    people: Mapping[str, str], names: Sequence[str], path: str | os.PathLike[str]
) -> None:
    """Checks that the photos of `people` exist.

    Args:
      people: as `people_from_csv` returns it.
      names: `Photos.names`.
      path: of the file with `people`, for the message.

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
    """Reads who is on a photo from its name.

    Args:
      names: `Photos.names`.
      pattern: a regular expression, searched in each name. Its group is the person: with
          '/([a-z]+)_' the photo 'happy/anna_3.jpg' shows 'anna'.

    Returns:
      Name of a photo -> person, without the photos whose name does not match.

    Raises:
      UserError: `pattern` is no regular expression with one group, or it matches no name.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"pattern {pattern!r}: no regular expression ({error})") from error
    if compiled.groups != 1:
        raise UserError(
            f"pattern {pattern!r} has {count(compiled.groups, 'group')}; expected one pair of"
            " brackets, round the person"
        )
    matches = ((name, compiled.search(name)) for name in names)
    people = {name: match[1] for name, match in matches if match and match[1]}
    if not people:
        raise UserError(
            f"pattern {pattern!r} matches none of {count(len(names), 'photo')}; expected it to find"
            f" the person in names such as {names[0]!r}"
        )
    return people
