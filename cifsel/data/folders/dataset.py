"""Makes the data set of a run from a user's own images, with splits that do not leak."""

import contextlib
import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
from etils import epath
from jaxtyping import Int, Int32

from cifsel.data import copies
from cifsel.data.folders import grouped_split, store
from cifsel.data.folders.listing import TEST, TRAIN, VAL, Entry, list_images, read_split
from cifsel.data.photos.decoding import decode
from cifsel.data.photos.files import File, content
from cifsel.data.photos.grouping import connected
from cifsel.data.splits import Dataset, Split, digest
from cifsel.errors import UserError
from cifsel.runtime import remote
from cifsel.runtime.terminal import say, warn

PARTS = (TRAIN, VAL, TEST)
# Images that fit easily into memory are read at once.
_IN_MEMORY_BYTES = 1_500_000_000
# Below this number, a single split says little.
_FEW = 200
# Below this share of a data set, drawings are taken for placeholders such as "image not found".
_RARE = 0.05


@dataclasses.dataclass(frozen=True)
class OwnSpec:
    """The images that a run asks for, and how to divide them. The fields are those of a config.

    Attributes:
      source: a folder, a zip, or a list in CSV or JSON lines. Empty for a set of tfds.
      side: of the stored squares, in pixels.
      fit: how an image becomes a square, a key of `store.SQUARES`.
      skip_unreadable: leave out files that are no photos, and do not stop at them.
      burst_seconds: photos taken within this time of each other stay together. Negative: none.
      val_share: share of the training images to validate on, where the source has no such part.
      test_share: share of all images to test on, where the source has no such part.
      split: a CSV file with the columns path and split, as a run writes it. None to make one.
      seed: of the split.
    """

    source: str
    side: int
    fit: str
    skip_unreadable: bool
    burst_seconds: float
    val_share: float
    test_share: float
    split: str | None
    seed: int


def load_folder(spec: OwnSpec) -> Dataset:
    """Reads the images of a folder, zip or list, and divides them.

    Raises:
      UserError: the source or an image in it cannot be used, or there are too few images.
    """
    with contextlib.ExitStack() as stack:
        entries = list_images(spec.source, stack)
        key = (
            f"{entry.name}\0{entry.label}\0{entry.split}\0{entry.group}\0{_stamp(entry.file)}"
            for entry in entries
        )
        items = [
            store.Item(entry.name, entry.label, entry.split, entry.group, _reader(entry))
            for entry in entries
        ]
        collection = store.Collection(len(items), items)
        stored = store.load(key, lambda: collection, spec.side, spec.fit)
    return make_dataset(stored, spec)


def _reader(entry: Entry) -> store.Read:
    def read() -> tuple[np.ndarray, str]:
        photo = decode(content(entry.file), entry.name)
        return photo.pixels, photo.taken.isoformat() if photo.taken else ""

    return read


def _stamp(file: File) -> str:
    """Describes a file's content, without reading it."""
    if file.member is not None:
        return f"{file.member.file_size} {file.member.CRC}"
    if remote.is_remote(file.path):
        there = epath.Path(file.path).stat()
        return f"{there.length} {there.mtime}"
    try:
        status = Path(file.path).stat()
    except OSError:
        return "unreadable"
    return f"{status.st_size} {status.st_mtime_ns}"


def make_dataset(stored: store.Store, spec: OwnSpec) -> Dataset:
    """Divides stored images.

    Raises:
      UserError: an image cannot be used or is of two classes, a class is missing in a part, or has
        too few images.
    """
    stored = _usable(stored, spec)
    class_names, labels = np.unique(stored.labels, return_inverse=True)
    names = tuple(map(str, class_names))
    contents = _numbered(stored.digests)
    _check_one_class(stored, contents)
    groups = _groups(stored, contents, spec.burst_seconds)
    splits = stored.splits if spec.split is None else _given_back(spec.split, stored.names)
    parts = _parts(spec, splits, labels, groups, names)
    _check_classes(spec, parts, labels, names)
    if len(stored.names) < _FEW:
        say(
            f"{len(stored.names)} images are few for one split: configs/selfie.py with"
            f" --config.photos tests on every one of them (docs/selfies.md)"
        )
    in_memory = stored.images.nbytes <= _IN_MEMORY_BYTES
    arrays: list[np.ndarray] = []
    selected = {}
    for part in PARTS:
        ids = np.flatnonzero(parts == part)
        images = stored.images[ids] if in_memory else stored.images.at(ids)
        selected[part] = Split(images, labels[ids].astype(np.int32), ids.astype(np.int32))
        arrays += [selected[part].labels, selected[part].ids, stored.digests[ids]]
    return Dataset(
        train=selected[TRAIN],
        val=selected[VAL],
        test=selected[TEST],
        class_names=names,
        coarse_names=(),
        coarse_of=np.empty(0, np.int32),
        fingerprint=digest(*arrays),
        names=tuple(map(str, stored.names)),
        groups=groups,
    )


def split_rows(dataset: Dataset) -> Iterator[tuple[str, ...]]:
    """Yields the lines of a list with the split of a data set, the names of its columns first."""
    yield "path", "label", "split", "group"
    groups = dataset.groups if dataset.groups is not None else np.arange(len(dataset.names))
    rows = [
        (dataset.names[i], dataset.class_names[label], part, str(groups[i]))
        for part in PARTS
        for i, label in zip(getattr(dataset, part).ids, getattr(dataset, part).labels, strict=True)
    ]
    yield from sorted(rows)


def _usable(stored: store.Store, spec: OwnSpec) -> store.Store:
    """Returns the images that can be used. Raises UserError for others, unless they are skipped."""
    problems = [str(problem) for problem in stored.problems]
    if np.mean(stored.is_drawing) < _RARE:
        for i in np.flatnonzero(stored.is_drawing):
            problems[i] = problems[i] or (
                f"{stored.names[i]}: a drawing of few colours among photos, as a placeholder for a"
                " lost image is"
            )
    bad = [problem for problem in problems if problem]
    if bad and not spec.skip_unreadable:
        more = f"; and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise UserError(
            f"{spec.source}: {len(bad)} of {len(problems)} files cannot be used"
            f" ({'; '.join(bad[:3])}{more}): convert or remove them, or give"
            " --config.skip_unreadable=True"
        )
    for problem in bad[:10]:
        warn(f"left out: {problem}")
    if len(bad) > 10:
        warn(f"left out: {len(bad) - 10} more")
    return stored.at(np.flatnonzero([not problem for problem in problems]))


def _numbered(digests: np.ndarray) -> Int[np.ndarray, " n"]:
    """Numbers images by content: equal images have equal numbers."""
    rows = np.ascontiguousarray(digests).view(np.dtype((np.void, digests.shape[1])))
    return np.unique(rows.ravel(), return_inverse=True)[1]


def _check_one_class(stored: store.Store, contents: Int[np.ndarray, " n"]) -> None:
    first: dict[int, int] = {}
    twice = [
        (first[number], i)
        for i, number in enumerate(contents.tolist())
        if stored.labels[first.setdefault(number, i)] != stored.labels[i]
    ]
    if twice:
        a, b = twice[0]
        raise UserError(
            f"{stored.names[a]} of class '{stored.labels[a]}' and {stored.names[b]} of class"
            f" '{stored.labels[b]}' are the same image"
            f"{f', and so are {len(twice) - 1} more pairs' if twice[1:] else ''}: remove the one"
            " that is wrong, or both"
        )


def _groups(
    stored: store.Store, contents: Int[np.ndarray, " n"], burst_seconds: float
) -> Int32[np.ndarray, " n"]:
    """Numbers groups: copies, bursts, and what the source says."""
    size = len(contents)
    _, first = np.unique(contents, return_index=True)
    joined = [np.stack([first[contents], np.arange(size)], axis=1)]
    with_copies = copies.near_copies(stored.thumbnails[first])
    joined.append(first[with_copies])
    joined.append(_bursts(stored.taken, burst_seconds))
    of_group: dict[str, int] = {}
    named = [(of_group.setdefault(str(g), i), i) for i, g in enumerate(stored.groups) if g]
    joined.append(np.array(named, np.int64).reshape(-1, 2))
    return connected(np.concatenate(joined), size)


def _bursts(taken: np.ndarray, burst_seconds: float) -> Int[np.ndarray, "pairs 2"]:
    """Pairs of photos that follow each other within this time."""
    times = [(datetime.fromisoformat(str(t)), i) for i, t in enumerate(taken) if str(t)]
    # Local time where only one of two cameras noted a zone.
    ordered = sorted((time.replace(tzinfo=None), i) for time, i in times)
    if len({time for time, _ in ordered}) <= 1:
        return np.empty((0, 2), np.int64)  # A clock that stands still says nothing.
    pairs = [
        (i, j)
        for (first, i), (second, j) in itertools.pairwise(ordered)
        if (second - first).total_seconds() <= burst_seconds
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _parts(
    spec: OwnSpec,
    splits: np.ndarray,
    labels: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    class_names: tuple[str, ...],
) -> np.ndarray:
    """Decides the part of each image: as the source says, and by `divide` where it does not."""
    parts = splits.astype("U5")
    given = {part for part in PARTS if (parts == part).any()}
    if TRAIN in given and VAL in given and TEST not in given:
        say("the source has train and val: val is the test part, and train gives validation images")
        parts[parts == VAL] = TEST
        given = {TRAIN, TEST}
    if given - {TRAIN} and not (parts == TRAIN).any() and not (parts == "").any():
        raise UserError(f"{spec.source}: no training images; expected a part called train")
    parts[parts == ""] = TRAIN
    missing = {VAL: spec.val_share, TEST: spec.test_share}
    shares = {part: share for part, share in missing.items() if part not in given}
    if not shares:
        return parts
    free = np.flatnonzero(parts == TRAIN)
    shares = {TRAIN: 1 - sum(shares.values())} | shares
    _, local = np.unique(groups[free], return_inverse=True)
    divided = grouped_split.divide(
        labels[free], local, tuple(shares.values()), class_names, spec.seed
    )
    parts[free] = np.array(list(shares))[divided]
    return parts


def _given_back(path: str, names: np.ndarray) -> np.ndarray:
    split_of = read_split(path)
    unknown = [name for name in names if name not in split_of]
    if unknown:
        raise UserError(
            f"{path}: no line for {unknown[0]} ({len(unknown)} of {len(names)} images have none):"
            " give the file of a run on the same images"
        )
    return np.array([split_of[name] for name in names])


def _check_classes(
    spec: OwnSpec,
    parts: np.ndarray,
    labels: Int[np.ndarray, " n"],
    class_names: tuple[str, ...],
) -> None:
    for part in PARTS:
        counts = Counter(labels[parts == part].tolist())
        lacking = [name for number, name in enumerate(class_names) if not counts[number]]
        if lacking:
            raise UserError(
                f"{spec.source}: the {part} part has no image of class '{lacking[0]}'"
                f"{f' and {len(lacking) - 1} others' if lacking[1:] else ''}; expected every class"
                " in each part: check the names of the folders"
            )
