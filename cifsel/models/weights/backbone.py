"""Reads the published weights of a backbone into a classifier's variables."""

import dataclasses
from pathlib import Path
from typing import Any

Tree = Any


@dataclasses.dataclass(frozen=True)
class WeightsFile:
    """The file that a backbone's weights came from.

    Attributes:
      file: its name.
      tensors_sha256: SHA-256 of its tensors (`keras_h5.tensors_sha256`).
    """

    file: str
    tensors_sha256: str


@dataclasses.dataclass(frozen=True)
class WeightsSpec:
    """The weights that a model starts from. The fields are those of a config.

    Attributes:
      model: one of `classifier.MODELS`.
      source: 'imagenet', 'none' (from scratch), or the path of a Keras file.
      alpha: MobileNet's width multiplier.
      resolution: side in pixels of the images that the published weights were trained on.
      folder: folder of Keras files. None for CIFSEL_WEIGHTS, the cache or a download.
    """

    model: str
    source: str
    alpha: float
    resolution: int
    folder: str | None


def find_file(spec: WeightsSpec) -> Path:
    """Finds the Keras file, and downloads it if it is published and not there yet.

    Raises:
      UserError: there is no such file, or it cannot be downloaded.
    """
    from cifsel.models.weights import download  # With h5py, for which `predict` need not wait.

    if spec.source != "imagenet":
        return download.use_file(spec.source)
    return download.find_weights(
        spec.model,
        alpha=spec.alpha,
        resolution=spec.resolution,
        top=False,
        weights_dir=spec.folder,
    )


def load_backbone(path: Path, model: str, shapes: Tree) -> tuple[Tree, WeightsFile]:
    """Reads the weights of a backbone.

    Args:
      path: a Keras file.
      model: one of `classifier.MODELS`.
      shapes: shapes of the classifier's variables.

    Returns:
      `params` and `batch_stats` of the backbone, without a head, and the file's description.

    Raises:
      UserError: the file is damaged, or of another model.
    """
    from cifsel.models.weights import h5_file, keras_h5

    tensors = h5_file.read_tensors(path)
    variables = keras_h5.convert(tensors, shapes, model=model, head=False, path=path)
    return variables, WeightsFile(path.name, keras_h5.tensors_sha256(tensors))
