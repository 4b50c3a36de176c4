"""The page beside an export, which says how it is used in ten lines of Python."""

from typing import Any

from cifsel.data.photos import crops
from cifsel.errors import printable
from cifsel.prediction.exports import keras_layout
from cifsel.prediction.exports.metadata import Metadata

# Packages that read each format.
_PACKAGES = {
    "onnx": "onnxruntime pillow",
    "stablehlo": "jax pillow",
    "keras": "keras tensorflow pillow",
    "keras-h5": "keras tensorflow",
    "tflite": "tensorflow pillow",
    "cifsel": "cifsel",
}
_PHOTO = """\
import json, numpy as np
from PIL import Image, ImageOps
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
(width, height), side = photo.size, round({middle!r} * min(photo.size))
left, top, how = (width - side) // 2, (height - side) // 2, Image.Resampling
square = photo.crop((left, top, left + side, top + side))
square = square.resize(({size}, {size}), how.LANCZOS if side > {size} else how.BICUBIC)
"""
# No other package shows photos in the same way, and another way gives other answers.
_CROPPED = """\
import json, numpy as np
from PIL import Image, ImageOps
from cifsel.data.photos.crops import Cropper
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
crop = dict(margin={margin:g}, fallback={fallback}, whole={whole}, middle={middle!r})
cropper = Cropper("{kind}", **crop)
(square,) = cropper.show([np.asarray(photo)], ["photo.jpg"], {size}).images
"""
_MODEL = {
    "onnx": """\
import onnxruntime; session = onnxruntime.InferenceSession("{file}")
(answers,) = session.run(None, {{"images": np.asarray(square)[None]}})
""",
    "stablehlo": """\
import jax; model = jax.export.deserialize(bytearray(open("{file}", "rb").read()))
answers = np.asarray(model.call(np.asarray(square)[None]))
""",
    "keras": """\
import keras; model = keras.models.load_model("{file}")
answers = model.predict_on_batch(np.asarray(square)[None])
""",
    "tflite": """\
import tensorflow; model = tensorflow.lite.Interpreter("{file}").get_signature_runner()
(answers,) = model(images=np.asarray(square)[None]).values()
""",
}
_PRINT = """\
print(dict(zip(json.load(open("{file}.json"))["class_names"], answers[0].tolist())))
"""
_CIFSEL = """\
import cifsel
model = cifsel.load("{file}")
(answer,) = model.predict(["photo.jpg"])
print(answer.label, answer.probability)
"""
_WEIGHTS = """\
import keras
backbone = keras.applications.{application}(
    include_top=False, weights="{file}", input_shape=(224, 224, 3){options}
)
backbone.summary()
"""
_NAMES_OF_WEIGHTS = """\
import h5py
print(list(h5py.File("{file}")))
"""


def page(file: str, metadata: Metadata) -> str:
    """FILE.md.

    Args:
      file: name of the export.
      metadata: of the export.
    """
    of = "backbone" if metadata.format == "keras-h5" else "classifier"
    names = ", ".join(map(printable, metadata.class_names))
    return f"""# {printable(file)}

A {of} that cifsel {metadata.cifsel_version} exported as {metadata.format}, with {metadata.model}.
`pip install {_packages(metadata)}`, then:

```python
{code(file, metadata)}```

{_input(metadata)}
- Classes: {names}
- Checkpoint: {metadata.checkpoint_sha256}
- Licence: {metadata.licence}

`{printable(file)}.json` has the same for programs.
"""


def code(file: str, metadata: Metadata) -> str:
    """The ten lines of Python. The arguments are those of `page`."""
    if metadata.format == "cifsel":
        return _CIFSEL.format(file=file)
    if metadata.format != "keras-h5":
        lines = (_CROPPED if _is_cropped(metadata) else _PHOTO) + _MODEL[metadata.format] + _PRINT
        return lines.format(file=file, size=metadata.input_size, **metadata.crop)
    application = keras_layout.APPLICATIONS.get(metadata.model)
    if application is None:
        return _NAMES_OF_WEIGHTS.format(file=file)
    options = f", alpha={metadata.alpha:g}" if metadata.model == "mobilenet" else ""
    return _WEIGHTS.format(file=file, application=application, options=options)


def _without_face(crop: dict[str, Any]) -> str:
    if not crop["fallback"]:
        return "refuse the photo"
    return f"a square in the middle, {crop['middle']:g} times the photo's shorter side"


def _is_cropped(metadata: Metadata) -> bool:
    return metadata.crop["kind"] != crops.NONE or metadata.crop["whole"]


def _packages(metadata: Metadata) -> str:
    packages = _PACKAGES[metadata.format]
    if metadata.format == "keras-h5" or not _is_cropped(metadata):
        return packages
    kind = metadata.crop["kind"]
    return f"{packages} cifsel" if kind == crops.NONE else f"{packages} 'cifsel[{kind}]'"


def _input(metadata: Metadata) -> str:
    """A list of what goes in and comes out."""
    if metadata.format == "keras-h5":
        return "- Weights of the backbone, in the layout of keras.applications"
    if metadata.format == "cifsel":
        return (
            f"- A model file of cifsel, with kernels in {metadata.weights}. The format is"
            " safetensors, and its header has the classes, the preprocessing and the record"
        )
    size, crop = metadata.input_size, metadata.crop
    lines = [
        f"- Input: `images`, uint8 RGB of shape (batch, {size}, {size}, 3), for any batch",
        "- Output: `probabilities`, float32 of shape (batch, classes)",
    ]
    if crop["kind"] == "face":
        lines.append(
            f"- It was trained on faces. Cut a square around the largest face, {crop['margin']:g}"
            f" times the side of the face. Without a face: {_without_face(crop)}"
        )
    elif crop["kind"] == "expression":
        lines.append(
            "- It was trained on the lower part of faces, moved to one place, in grey levels of"
            " mean 128 and standard deviation 56, as `lower_face` of"
            " cifsel/data/photos/expression.py makes it."
            f" Without a face: {_without_face(crop)}"
        )
    elif crop["whole"]:
        lines.append("- It was trained on whole photos, with grey beside them to make a square")
    if metadata.set_from:
        wanted, least = list(metadata.set_from.items())[-1]
        lines.append(
            f"- All classes of probability {least:.4g} or more, and the likeliest one, are a set"
            f" that holds the right class for at least {float(wanted):.0%} of new images like the"
            " validation images"
        )
    if metadata.task == "selfie":
        reliable = metadata.sure_from
        lines.append(
            "- No probability was found to be reliable"
            if reliable is None
            else f"- cifsel says unsure where the highest probability is below {reliable:.4g}"
        )
    return "\n".join(lines)
