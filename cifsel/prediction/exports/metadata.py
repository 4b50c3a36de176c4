"""The metadata of an export: classes, limits, what it must be shown, and where it comes from."""

import dataclasses
import importlib.metadata
import json
from typing import Any

from cifsel.prediction.exports.source import Source

LICENCE = (
    "Apache-2.0 for cifsel and for the published Keras weights. Who made the classifier decides on"
    " the licence of what it learned from their images."
)


@dataclasses.dataclass(frozen=True)
class Metadata:
    """Metadata of an export.

    Attributes:
      cifsel_version: of the program that wrote it.
      format: 'onnx', 'stablehlo', 'keras', 'keras-h5', 'tflite' or 'cifsel'.
      task: 'task1' or 'selfie'.
      model: name of the backbone.
      alpha: width multiplier of the backbone.
      class_names: in the order of the probabilities.
      sure_from: the least highest probability of a reliable answer of task 2. None if none is, and
        for task 1.
      set_from: by coverage, such as '0.9', the least probability of a class in a set that holds the
        true class with this probability. The likeliest class is always in the set.
      input_size: side in pixels of the images that it takes.
      crop: the part of a photo that it must be shown: 'kind' is 'none' for the middle square, or
        'face', or 'expression' for its lower part. 'margin' is the side of the square around a
        face, in sides of the face. 'fallback' allows the middle square for a photo without a face.
        'whole' asks for the whole photo, with grey beside it. 'middle' is the side of the middle
        square, as a share of the photo's shorter side.
      checkpoint_sha256: hash of the hashes of the checkpoint's files.
      licence: of the weights.
      weights: 'float32', 'float16' or 'int8'.
    """

    cifsel_version: str
    format: str
    task: str
    model: str
    alpha: float
    class_names: tuple[str, ...]
    sure_from: float | None
    set_from: dict[str, float]
    input_size: int
    crop: dict[str, Any]
    checkpoint_sha256: str
    licence: str
    weights: str = "float32"

    def to_json(self) -> dict[str, Any]:
        """The fields, JSON-ready."""
        return dataclasses.asdict(self) | {"class_names": list(self.class_names)}

    def to_texts(self) -> dict[str, str]:
        """The fields as texts. Those that are no texts are JSON."""
        return {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in self.to_json().items()
        }


def of(source: Source, form: str) -> Metadata:
    """The metadata of an export of that format."""
    made = source.predictor
    return Metadata(
        cifsel_version=importlib.metadata.version("cifsel"),
        format=form,
        task=made.task,
        model=source.name_of_model,
        alpha=getattr(source.trained.model.backbone, "alpha", 1.0),  # MobileNet alone has it.
        class_names=made.class_names,
        sure_from=made.sure_from,
        set_from={f"{wanted:g}": least for wanted, least in source.set_from.items()},
        input_size=made.size,
        crop={
            "kind": made.cropper.kind,
            "margin": made.cropper.margin,
            "fallback": not made.needs_face,
            "whole": made.cropper.whole,
            "middle": made.cropper.middle,
        },
        checkpoint_sha256=source.trained.digest,
        licence=LICENCE,
    )
