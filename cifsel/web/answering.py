"""Answers for photos by the predictor of `cifsel.predict`, as the page shows them."""

import collections
import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from cifsel import api, workdir
from cifsel.errors import UserError
from cifsel.prediction import coverage as sets
from cifsel.prediction import predictor as predictors
from cifsel.prediction.image_predictor import ImagePredictor
from cifsel.prediction.prediction import Prediction
from cifsel.prediction.predictor import Predictor
from cifsel.runtime.paths import is_file
from cifsel.web import crop_choice

_MOST_MODELS = 4  # in memory, of up to 90 MB each


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer for a photo.

    Attributes:
      prediction: as Python users get it.
      picture: a square, in full colour where it speaks for the answer. None if not asked for.
      sets: why there is no set of classes, though one was asked for. '' otherwise.
    """

    prediction: Prediction
    picture: UInt8[np.ndarray, "s s 3"] | None
    sets: str = ""


class Answerer:
    """Keeps the models that were asked last, and asks one at a time."""

    def __init__(self) -> None:
        self._models: collections.OrderedDict[tuple[str, int], Predictor] = (
            collections.OrderedDict()
        )
        self._lock = threading.Lock()

    def answer(
        self,
        folder: str,
        pixels: UInt8[np.ndarray, "h w 3"],
        *,
        coverage: float | None,
        explain: bool,
    ) -> Answer:
        """Answers for a photo.

        Args:
          folder: the workdir of a run, or the folder of a comparison.
          pixels: of the photo, as it was decoded.
          coverage: of the set of classes. None for no set.
          explain: draw what speaks for the answer.

        Raises:
          UserError: there is no checkpoint, or no face in the photo.
        """
        with self._lock, _plain_words():
            model, lack = self._model(folder), ""
            if coverage is not None:
                try:
                    model = sets.with_sets(model, folder, coverage)
                except UserError as error:
                    lack = str(error)
            asked = ImagePredictor(model)
            (prediction,) = asked.predict(pixels)
            picture = np.asarray(asked.explain(pixels)[0]) if explain else None
        return Answer(prediction, picture, lack)

    def warm(self, folder: str) -> None:
        """Has a model compiled. Raises UserError if there is no checkpoint."""
        with self._lock:
            model = self._model(folder)
            model.probabilities(np.zeros((1, model.size, model.size, 3), np.uint8))

    def task_of(self, folder: str) -> str:
        """'task1' or 'selfie'. Raises UserError if there is no checkpoint."""
        with self._lock:
            return self._model(folder).task

    def _model(self, folder: str) -> Predictor:
        # A run may be deleted, and another one have its number.
        stamped = Path(folder) if is_file(Path(folder)) else Path(folder) / workdir.METRICS
        key = folder, stamped.stat().st_mtime_ns if stamped.exists() else 0
        if key not in self._models:
            self._models[key] = predictors.load(folder)
            while len(self._models) > _MOST_MODELS:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        return self._models[key]


@contextlib.contextmanager
def _plain_words() -> Iterator[None]:
    """Takes the words about the place of an image out of the message about it."""
    try:
        yield
    except UserError as error:
        words = str(error).removeprefix("1 of 1 image cannot be used (image 0: ")
        raise UserError(words.removesuffix("): leave them out")) from None


def sentence_of(run: Path) -> tuple[str, list[str]]:
    """The verdict of a finished run of task 2, and warnings.

    Raises:
      UserError: its metrics are damaged.
    """
    metrics = api.open_run(run).metrics
    return str(metrics["sentence"]), [crop_choice.for_page(note) for note in metrics["notes"]]


def is_of(run: Path, photos: list[Path]) -> bool:
    """Whether a finished run was made of these photos, in these classes."""
    named = {f"{photo.parent.name}/{photo.name}" for photo in photos}
    return set(api.open_run(run).metrics["photos"]["names"]) == named
