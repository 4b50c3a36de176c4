"""Photos to answers, a batch at a time, with pictures of the evidence for each answer."""

import contextlib
import dataclasses
import functools
import io
import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from etils import epath
from jaxtyping import Float, UInt8
from PIL import Image

from cifsel import workdir
from cifsel.data.photos import search
from cifsel.errors import UserError, printable
from cifsel.prediction import predictor as predictors
from cifsel.prediction import seen
from cifsel.prediction.predictor import NoFaceError, Predictor
from cifsel.prediction.seen import Match
from cifsel.runtime import remote, threads
from cifsel.runtime.remote import AnyPath

_STEM_LENGTH = 48  # characters of a photo's name in the name of its picture


class Source(Protocol):
    """A photo to answer for: a file, or an image in memory."""

    @property
    def photo(self) -> str:
        """Its path, as given."""

    @property
    def name(self) -> str:
        """Its name for messages, printable."""

    def pixels(self) -> UInt8[np.ndarray, "h w 3"]:
        """Its pixels, sRGB and upright. Raises UserError if it cannot be used."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer for one photo.

    Attributes:
      photo: its path, as given.
      probabilities: of the K classes. Empty if there is a problem, with this photo or one before.
      problem: why there is no answer. '' if there is one, or if the photo has only been checked.
      seen: the photo of training that this is, or is a copy of. None for a photo that the model has
        not seen.
      unlike: whether the photo is unlike those that the model was made from.
    """

    photo: str
    probabilities: Float[np.ndarray, " k"]
    problem: str = ""
    seen: Match | None = None
    unlike: bool = False


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """A photo that was decoded.

    Attributes:
      crop: the input of the model. Empty if there is a problem.
      problem: why the photo cannot be used. '' if it can.
      seen: as in `Answer`.
    """

    crop: UInt8[np.ndarray, "s s 3"]
    problem: str = ""
    seen: Match | None = None


def answer_photos(
    items: Sequence[Source], predictor: Predictor, *, skip: bool, explain: str = ""
) -> Generator[Answer, None, None]:
    """Yields an answer for each photo, in order, as soon as its batch is done.

    Threads decode the next photos while the devices compute. Memory does not grow with the number
    of photos: of those that were decoded, a few batches of the model's inputs are kept.

    Args:
      items: the photos.
      predictor: the model.
      skip: answer for the other photos when one has a problem. Otherwise, the first problem ends
        the answers, and the remaining photos are only checked.
      explain: a folder for a picture of the evidence for each answer. '' for none.

    Raises:
      UserError: the folder cannot be written, or has photos in it that are to be explained.
    """
    pictures = _picture_paths(items, explain) if explain else []
    size, failed = predictors.batch_size(), False
    prepare = functools.partial(_prepare, predictor=predictor)
    photos = threads.in_order(prepare, items, ahead=2 * size + threads.cores())
    with contextlib.closing(photos):
        for start in range(0, len(items), size):
            batch = list(itertools.islice(photos, size))
            answered = []
            for photo in batch:
                failed = failed or bool(photo.problem)
                answered.append(not photo.problem and (skip or not failed))
            crops = [photo.crop for photo in itertools.compress(batch, answered)]
            paths = itertools.compress(pictures[start : start + size], answered)
            rows = _judged(crops, predictor, paths, explain)
            for item, photo, has in zip(items[start : start + size], batch, answered, strict=True):
                shares, unlike = next(rows) if has else (np.empty(0), False)
                yield Answer(item.photo, shares, photo.problem, photo.seen, unlike)


def _prepare(item: Source, predictor: Predictor) -> _Prepared:
    """Decodes a photo and cuts out what the model is shown. Called in threads."""
    name, none = item.name, np.empty((0, 0, 3), np.uint8)
    try:
        pixels = item.pixels()
    except UserError as error:
        return _Prepared(none, search.reason(error, name))
    match = seen.find(pixels, predictor.seen)
    try:
        return _Prepared(predictor.show([pixels], [name])[0], seen=match)
    except NoFaceError as error:
        return _Prepared(none, search.reason(error, name), match)


def _judged(
    crops: Sequence[UInt8[np.ndarray, "s s 3"]],
    predictor: Predictor,
    pictures: Iterable[AnyPath],
    explain: str,
) -> Iterator[tuple[Float[np.ndarray, " k"], bool]]:
    """The probabilities of each image, and whether it is unlike those of training.

    Before, the pictures that explain them are written.
    """
    if not crops:
        return iter(())
    shown = np.stack(crops)
    probabilities, unlike = predictor.judged(shown)
    if explain:
        _write_pictures(predictor.explain(shown, probabilities.argmax(1)), pictures)
    return zip(probabilities, unlike.tolist(), strict=True)


def _picture_paths(items: Sequence[Source], explain: str) -> list[AnyPath]:
    """A file for each photo. The names differ even where upper and lower case are the same."""
    folder = remote.path(explain)
    workdir.make(epath.Path(folder), "explain")
    on_disk = [item.file.path for item in items if isinstance(item, search.Item)]
    if any(_resolved(path.parent) == _resolved(folder) for path in on_disk):
        raise UserError(
            f"explain {folder} has photos in it that are to be explained, which could be"
            " overwritten: give another --explain"
        )
    taken: set[str] = set()
    paths = []
    for item in items:
        stem = printable(Path(item.photo).stem).replace("\\", "_")[:_STEM_LENGTH]
        numbered = itertools.chain([stem], (f"{stem}-{n}" for n in itertools.count(2)))
        name = next(name for name in numbered if name.casefold() not in taken)
        taken.add(name.casefold())
        paths.append(folder / f"{name}.png")
    return paths


def _resolved(path: AnyPath) -> AnyPath:
    return path if remote.is_remote(path) else path.resolve()


def _write_pictures(pictures: UInt8[np.ndarray, "n t t 3"], paths: Iterable[AnyPath]) -> None:
    for picture, path in zip(pictures, paths, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        workdir.write_bytes(epath.Path(path), buffer.getvalue())
