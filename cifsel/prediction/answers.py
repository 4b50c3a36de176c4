"""Photos to answers, a batch at a time, with pictures of the evidence for each answer."""

import dataclasses
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
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
from cifsel.runtime import remote
from cifsel.runtime.remote import AnyPath
from cifsel.workdir.model_meta import SeenPhoto

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
      probabilities: of the K classes. Empty if there is a problem.
      problem: why there is no answer. '' if there is one.
      seen: the photo of training that this is. None for a photo that the model has not seen.
    """

    photo: str
    probabilities: Float[np.ndarray, " k"]
    problem: str = ""
    seen: SeenPhoto | None = None


def answer_photos(
    items: Sequence[Source], predictor: Predictor, *, skip: bool, explain: str = ""
) -> Iterator[Answer]:
    """Yields an answer for each photo, in order. Holds one batch of decoded photos at a time.

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
    batch_size, failed = predictors.batch_size(), False
    for start in range(0, len(items), batch_size):
        batch = items[start : start + batch_size]
        crops, problems, known = _crops(batch, predictor)
        failed = failed or any(problems)
        probabilities = np.empty((len(crops), 0))
        if crops and (skip or not failed):
            shown = np.stack(crops)
            probabilities = predictor.probabilities(shown)
            if explain:
                paths = itertools.compress(pictures[start:], [not text for text in problems])
                _write_pictures(predictor.explain(shown, probabilities.argmax(1)), paths)
        rows = iter(probabilities)
        for item, problem, photo in zip(batch, problems, known, strict=True):
            yield Answer(item.photo, np.empty(0) if problem else next(rows), problem, photo)


def _crops(
    items: Sequence[Source], predictor: Predictor
) -> tuple[list[UInt8[np.ndarray, "s s 3"]], list[str], list[SeenPhoto | None]]:
    """The inputs of the model for the usable photos.

    Also, of every photo, its problem or '', and the photo of training that it is or None.
    """
    crops, problems, known = [], [], []
    for item in items:
        name, problem, photo = item.name, "", None
        try:
            pixels = item.pixels()
        except UserError as error:
            problem = search.reason(error, name)
        else:
            photo = seen.find(pixels, predictor.seen)
            try:
                crops.append(predictor.show([pixels], [name])[0])
            except NoFaceError as error:
                problem = search.reason(error, name)
        problems.append(problem)
        known.append(photo)
    return crops, problems, known


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
