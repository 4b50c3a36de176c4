"""The part `meta` of a checkpoint: everything that the use of its weights needs to know.

This is the only place that knows the names of its fields. A checkpoint may come from somebody else,
so reading checks that every field is there and has the right type.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from cifsel.errors import UserError, one_line

# The field `task` of task 2's checkpoints. Those of task 1 have no such field.
SELFIE = "selfie"


@dataclasses.dataclass(frozen=True)
class ClassifierMeta:
    """A classifier of task 1.

    Attributes:
      config: of the run, JSON-ready.
      class_names: K names, in the order of the logits.
      coarse_names: G names of groups of classes.
      coarse_of: the group of each class, K numbers below G.
      image_side: in pixels, of the training images before they were resized.
      fingerprint: of the data set and its splits.
      weights: the file that the backbone came from, JSON-ready. None for a model from scratch.
    """

    config: Mapping[str, Any]
    class_names: tuple[str, ...]
    coarse_names: tuple[str, ...]
    coarse_of: tuple[int, ...]
    image_side: int
    fingerprint: str
    weights: Mapping[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """The same as JSON, in the order of the fields."""
        return {
            "config": dict(self.config),
            "class_names": list(self.class_names),
            "coarse_names": list(self.coarse_names),
            "coarse_of": list(self.coarse_of),
            "image_side": self.image_side,
            "fingerprint": self.fingerprint,
            "weights": None if self.weights is None else dict(self.weights),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote. Raises KeyError or TypeError for anything else."""
        weights = content["weights"]
        return cls(
            config=_typed(content, "config", Mapping),
            class_names=_items(content, "class_names", str),
            coarse_names=_items(content, "coarse_names", str),
            coarse_of=_items(content, "coarse_of", int),
            image_side=_typed(content, "image_side", int),
            fingerprint=_typed(content, "fingerprint", str),
            weights=None if weights is None else _typed(content, "weights", Mapping),
        )


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A backbone by the name of its architecture and its width multiplier."""

    model: str
    alpha: float


@dataclasses.dataclass(frozen=True)
class Crop:
    """Which part of a photo the model is shown.

    Attributes:
      kind: 'none' for the middle square, 'face' for the largest face.
      margin: side of the square around a face, in sides of the face.
      fallback: use the middle square where no face is found. Otherwise refuse the photo.
    """

    kind: str
    margin: float
    fallback: bool


@dataclasses.dataclass(frozen=True)
class SelfieMeta:
    """A classifier of task 2, of somebody's own photos.

    Attributes:
      l2: penalty of the head. None after fine-tuning.
      temperature: by which logits are divided.
      places: pairs of a layer and a grid, as `evaluation.features.cells` takes them.
      method: 'probe' or 'finetune'.
      backbone: the architecture below the head.
      class_names: K names, in the order of the logits.
      image_size: side in pixels at which photos are shown.
      resize: method of `data.transforms.resize`.
      mirror: outputs are averaged over each photo and its mirror image.
      crop: the part of a photo that is shown.
      sure_from: the least highest probability of a reliable answer. None if none is.
      init_from: where the backbone's weights came from.
      config: of the run, JSON-ready.
    """

    l2: float | None
    temperature: float
    places: tuple[tuple[str, int], ...]
    method: str
    backbone: Backbone
    class_names: tuple[str, ...]
    image_size: int
    resize: str
    mirror: bool
    crop: Crop
    sure_from: float | None
    init_from: str
    config: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The same as JSON, in the order of the fields, with `task`."""
        content: dict[str, Any] = {}
        for name, value in dataclasses.asdict(self).items():
            if name == "backbone":
                content["task"] = SELFIE
            content[name] = value
        content["places"] = [list(place) for place in self.places]
        return content | {"class_names": list(self.class_names)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote. Raises KeyError or TypeError for anything else."""
        backbone, crop = _typed(content, "backbone", Mapping), _typed(content, "crop", Mapping)
        places = _items(content, "places", list)
        return cls(
            l2=_number_or_none(content, "l2"),
            temperature=_number(content, "temperature"),
            places=tuple((str(layer), int(grid)) for layer, grid in places),
            method=_typed(content, "method", str),
            backbone=Backbone(_typed(backbone, "model", str), _number(backbone, "alpha")),
            class_names=_items(content, "class_names", str),
            image_size=_typed(content, "image_size", int),
            resize=_typed(content, "resize", str),
            mirror=_typed(content, "mirror", bool),
            crop=Crop(
                _typed(crop, "kind", str), _number(crop, "margin"), _typed(crop, "fallback", bool)
            ),
            sure_from=_number_or_none(content, "sure_from"),
            init_from=_typed(content, "init_from", str),
            config=_typed(content, "config", Mapping),
        )


def parse(content: Mapping[str, Any], checkpoint: str) -> ClassifierMeta | SelfieMeta:
    """Reads the `meta` of a checkpoint of either task.

    Args:
      content: the JSON.
      checkpoint: its folder, for messages.

    Raises:
      UserError: it is of another task, or lacks a field, or a field has another type.
    """
    try:
        if content.get("task") == SELFIE:
            return SelfieMeta.from_json(content)
        if "task" not in content and "config" in content:
            return ClassifierMeta.from_json(content)
    except (KeyError, TypeError, ValueError) as error:
        raise not_understood(checkpoint, error) from error
    raise UserError(
        f"checkpoint {checkpoint} is of task {content.get('task')!r}; expected one of task 1 or of"
        " configs/selfie.py: a newer version of cifsel may know it"
    )


def not_understood(checkpoint: str, error: Exception) -> UserError:
    """The error that says that a checkpoint is of another version of cifsel."""
    return UserError(
        f"checkpoint {checkpoint} does not say what this version of cifsel needs to know"
        f" ({type(error).__name__}: {one_line(error)}): use the version that wrote it"
    )


def _typed(content: Mapping[str, Any], name: str, kind: type) -> Any:
    value = content[name]
    if not isinstance(value, kind):
        raise TypeError(f"{name!r} is a {type(value).__name__}, not a {kind.__name__}")
    return value


def _number(content: Mapping[str, Any], name: str) -> float:
    value = content[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name!r} is a {type(value).__name__}, not a number")
    return value


def _number_or_none(content: Mapping[str, Any], name: str) -> float | None:
    return None if content[name] is None else _number(content, name)


def _items(content: Mapping[str, Any], name: str, kind: type) -> tuple[Any, ...]:
    items = _typed(content, name, list)
    for item in items:
        if not isinstance(item, kind):
            raise TypeError(f"{name!r} has a {type(item).__name__} in it, not a {kind.__name__}")
    return tuple(items)
