"""The part `meta` of a checkpoint: everything that the use of its weights needs to know.

This is the only place that knows the names of its fields. A checkpoint may come from somebody else,
so reading checks that every field is there, and that its value is of the right type and in range.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Self

from cifsel.errors import UserError, one_line
from cifsel.workdir import meta_schema as schema

# The field `task` of task 2's checkpoints. Those of task 1 have no such field.
SELFIE = "selfie"


@dataclasses.dataclass(frozen=True)
class ClassifierMeta:
    """A classifier of task 1.

    Attributes:
      config: of the run, JSON-ready.
      class_names: K names, in the order of the logits.
      coarse_names: G names of groups of classes. None of them if the classes have no groups.
      coarse_of: the group of each class, K numbers below G. Empty without groups.
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
        """Reads what `to_json` wrote. Raises KeyError or ValueError for anything else."""
        names = schema.names(content, "class_names")
        groups = schema.names(content, "coarse_names", least=0)
        coarse_of = schema.items(content, "coarse_of", schema.below(len(groups)))
        if len(coarse_of) != (len(names) if groups else 0):
            raise ValueError(
                f"coarse_of has {len(coarse_of)} numbers for {len(names)} classes and"
                f" {len(groups)} coarse names"
            )
        weights = content["weights"]
        if weights is not None:
            weights = schema.mapping(content, "weights")
            for name in ("file", "tensors_sha256"):
                schema.value(weights, name, schema.TEXT)
        return cls(
            config=schema.config(content, schema.CLASSIFIER_CONFIG),
            class_names=names,
            coarse_names=groups,
            coarse_of=coarse_of,
            image_side=schema.value(content, "image_side", schema.IMAGE_SIDE),
            fingerprint=schema.value(content, "fingerprint", schema.TEXT),
            weights=weights,
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
      kind: one of `data.photos.CROPS`.
      margin: side of the square around a face, in sides of the face.
      fallback: use the middle where no face is found. Otherwise refuse the photo.
      middle: side of the middle square, as a share of the photo's shorter side.
    """

    kind: str
    margin: float
    fallback: bool
    middle: float


@dataclasses.dataclass(frozen=True)
class SeenPhoto:
    """A photo that a classifier has learned from. Neither the photo nor its name can be told of it.

    Attributes:
      digest: of its pixels, as `data.photos.content_digest` makes it.
      label: position of its class.
      held_out: probabilities of the K classes from models that had not seen the photo.
      look: perceptual hash by which copies are known, 16 hexadecimal digits. '' if it has none.
    """

    digest: str
    label: int
    held_out: tuple[float, ...]
    look: str = ""


@dataclasses.dataclass(frozen=True)
class SelfieMeta:
    """A classifier of task 2, of somebody's own photos.

    Attributes:
      l2: penalty of the head.
      temperature: by which logits are divided.
      places: pairs of a layer and a grid, as `evaluation.features.cells` takes them.
      backbone: the architecture below the head.
      class_names: K names, in the order of the logits.
      image_size: side in pixels at which photos are shown.
      resize: method of `data.transforms.resize`.
      mirror: outputs are averaged over each photo and its mirror image.
      crop: the part of a photo that is shown.
      sure_from: the least highest probability of a reliable answer. None if none is.
      unlike_from: the least distance of a photo that is unlike those of training, by
        `evaluation.distances`. None if that is not known.
      init_from: where the backbone's weights came from.
      config: of the run, JSON-ready.
      seen: the photos that it has learned from.
    """

    l2: float
    temperature: float
    places: tuple[tuple[str, int], ...]
    backbone: Backbone
    class_names: tuple[str, ...]
    image_size: int
    resize: str
    mirror: bool
    crop: Crop
    sure_from: float | None
    unlike_from: float | None
    init_from: str
    config: Mapping[str, Any]
    seen: tuple[SeenPhoto, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The same as JSON, in the order of the fields, with `task`."""
        content: dict[str, Any] = {}
        for name, value in dataclasses.asdict(self).items():
            if name == "backbone":
                content["task"] = SELFIE
            content[name] = value
        content["places"] = [list(place) for place in self.places]
        for photo in content["seen"]:
            photo["held_out"] = list(photo["held_out"])
        content["seen"] = list(content["seen"])
        return content | {"class_names": list(self.class_names)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote. Raises KeyError or ValueError for anything else."""
        backbone, crop = schema.mapping(content, "backbone"), schema.mapping(content, "crop")
        names = schema.names(content, "class_names")
        return cls(
            l2=schema.value(content, "l2", schema.L2),
            temperature=schema.value(content, "temperature", schema.TEMPERATURE),
            places=schema.places(content, "places"),
            backbone=Backbone(
                schema.value(backbone, "model", schema.MODEL),
                schema.value(backbone, "alpha", schema.ALPHA),
            ),
            class_names=names,
            image_size=schema.value(content, "image_size", schema.IMAGE_SIZE),
            resize=schema.value(content, "resize", schema.RESIZE),
            mirror=schema.value(content, "mirror", schema.SWITCH),
            crop=Crop(
                schema.value(crop, "kind", schema.CROP),
                schema.value(crop, "margin", schema.CROP_MARGIN),
                schema.value(crop, "fallback", schema.SWITCH),
                schema.value(crop, "middle", schema.CROP_MIDDLE),
            ),
            sure_from=schema.value_or_none(content, "sure_from", schema.SHARE),
            unlike_from=schema.value_or_none(content, "unlike_from", schema.DISTANCE),
            init_from=schema.value(content, "init_from", schema.TEXT),
            config=schema.config(content, schema.SELFIE_CONFIG),
            seen=_seen(content.get("seen", []), len(names)),
        )


def _seen(content: Any, num_classes: int) -> tuple[SeenPhoto, ...]:
    """Reads the photos of training. Checkpoints of earlier versions have none."""
    if not isinstance(content, list):
        raise ValueError(f"seen is {content!r}; expected a list")
    photos = []
    for entry in content:
        if not isinstance(entry, Mapping):
            raise ValueError(f"seen has {entry!r} in it; expected an object")
        held_out = schema.items(entry, "held_out", schema.SHARE)
        if len(held_out) != num_classes:
            raise ValueError(f"held_out has {len(held_out)} numbers for {num_classes} classes")
        digest = schema.value(entry, "digest", schema.TEXT)
        label = schema.value(entry, "label", schema.below(num_classes))
        look = entry.get("look", "")  # Checkpoints of earlier versions have none.
        if not isinstance(look, str) or not re.fullmatch(r"([0-9a-f]{16})?", look):
            raise ValueError(f"look is {look!r}; expected 16 hexadecimal digits")
        photos.append(SeenPhoto(digest, label, held_out, look))
    return tuple(photos)


def parse(content: Mapping[str, Any], checkpoint: str) -> ClassifierMeta | SelfieMeta:
    """Reads the `meta` of a checkpoint of either task.

    Args:
      content: the JSON.
      checkpoint: its folder, for messages.

    Raises:
      UserError: it is of another task, or lacks a field, or the value of a field cannot be.
    """
    try:
        if not isinstance(content, Mapping):
            raise ValueError(f"its meta is a {type(content).__name__}")
        if content.get("task") == SELFIE:
            return SelfieMeta.from_json(content)
        if "task" not in content and "config" in content:
            return ClassifierMeta.from_json(content)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise not_understood(checkpoint, error) from error
    raise UserError(
        f"checkpoint {checkpoint} is of task {content.get('task')!r}; expected one of task 1 or of"
        " configs/selfie.py: a newer version of cifsel may know it"
    )


def not_understood(checkpoint: str, error: Exception) -> UserError:
    """The error that says that a checkpoint is damaged, or of another version of cifsel."""
    missing = "there is no " if isinstance(error, KeyError) else ""
    return UserError(
        f"checkpoint {checkpoint} does not say what this version of cifsel needs to know"
        f" ({missing}{one_line(error)}): put back a copy of it, or use the version that wrote it"
    )
