"""The answer of a model for one image, as Python, JSON, CSV and text show it."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from cifsel.errors import printable
from cifsel.evaluation import prediction_sets
from cifsel.prediction.answers import Answer
from cifsel.prediction.predictor import Predictor
from cifsel.workdir.model_meta import SELFIE

TOP = 5  # classes in a line of text
SAME, COPY = "same", "copy"
UNLIKE = "unlike the photos it was made from"
_SEEN_WORDS = {SAME: "seen in training", COPY: "much like a photo of training"}


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """The answer of models that had not seen the photo: a class, and its probability in 0..1."""

    label: str
    probability: float

    @property
    def words(self) -> str:
        """'happy 75 %'."""
        return _with_percent(self.label, self.probability)


@dataclasses.dataclass(frozen=True, repr=False)
class Prediction:
    """The answer for one image.

    Attributes:
      image: its path as given. 'image 3' for an image in memory that stood at place 3.
      label: the likeliest class.
      probability: of `label`, 0..1.
      probabilities: of all K classes, by name, in the order of the model. They add up to 1.
      unsure: whether the answer is not to be believed. None for a model of task 1, which does not
        know.
      seen_in_training: whether the model has learned from this photo, or from one that it is a
        copy of. None for task 1.
      held_out: the answer of models that had not seen the photo. None for a new photo.
      classes: the classes that hold the true one with the probability that was asked for, the
        likeliest first. None if no such set was asked for.
      seen_as: 'same' for a photo of training, 'copy' for a copy of one. None for a new photo.
      unlike: whether the image is unlike those that the model was made from, so that its
        probabilities say little. None for task 1, which does not know.
    """

    image: str
    label: str
    probability: float
    probabilities: Mapping[str, float]
    unsure: bool | None
    seen_in_training: bool | None
    held_out: HeldOut | None
    classes: tuple[str, ...] | None = None
    seen_as: str | None = None
    unlike: bool | None = None

    @property
    def words(self) -> str:
        """'happy 93 %' or 'unsure (happy 53 %)'. For task 1, the `TOP` likeliest classes.

        With sets, the classes of the set: 'fox 51 % or wolf 40 %'.
        """
        if self.classes is not None:
            said = [_with_percent(name, self.probabilities[name]) for name in self.classes]
            return " or ".join(said) + self._seen_words + self._unlike_words
        ranked = sorted(self.probabilities.items(), key=lambda pair: -pair[1])
        likeliest = [_with_percent(name, share) for name, share in ranked[:TOP]]
        if self.unsure is not None:
            likeliest = [f"unsure ({likeliest[0]})" if self.unsure else likeliest[0]]
        return ", ".join(likeliest) + self._seen_words + self._unlike_words

    @property
    def _unlike_words(self) -> str:
        return f"  ({UNLIKE})" if self.unlike else ""

    @property
    def _seen_words(self) -> str:
        if not self.held_out:
            return ""
        return f"  ({_SEEN_WORDS[self.seen_as or SAME]}; held out: {self.held_out.words})"

    def __repr__(self) -> str:
        return f"Prediction({printable(self.image)}: {self.words})"


def of_answer(answer: Answer, predictor: Predictor) -> Prediction:
    """Reads an answer that has no problem."""
    names, is_selfie = predictor.class_names, predictor.task == SELFIE
    best = int(answer.probabilities.argmax())
    held_out = seen_as = None
    if answer.seen:
        shares = answer.seen.photo.held_out
        place = int(np.argmax(shares))
        held_out = HeldOut(names[place], shares[place])
        seen_as = SAME if answer.seen.exact else COPY
    return Prediction(
        image=answer.photo,
        label=names[best],
        probability=float(answer.probabilities[best]),
        probabilities=dict(zip(names, answer.probabilities.tolist(), strict=True)),
        unsure=bool(predictor.unsure(answer.probabilities[None])[0]) if is_selfie else None,
        seen_in_training=answer.seen is not None if is_selfie else None,
        held_out=held_out,
        classes=_set(answer, predictor),
        seen_as=seen_as,
        unlike=answer.unlike if is_selfie else None,
    )


def _set(answer: Answer, predictor: Predictor) -> tuple[str, ...] | None:
    if predictor.set_from is None:
        return None
    members = prediction_sets.sets(answer.probabilities[None], predictor.set_from)[0]
    ranked = np.argsort(-answer.probabilities, kind="stable")
    return tuple(predictor.class_names[index] for index in ranked if members[index])


def _with_percent(name: str, share: float) -> str:
    return f"{printable(name)} {_percent(share)}"


def _percent(share: float) -> str:
    # Rounding must not make anything certain.
    if 0.01 <= share <= 0.99:
        return f"{100 * share:.0f} %"
    return "over 99 %" if share > 0.5 else "under 1 %"
