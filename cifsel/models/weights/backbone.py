"""Reads the published weights of a backbone into a classifier's variables."""

import dataclasses
from typing import Any

from etils import epath

from cifsel.models.weights import h5_file, keras_h5

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


def load_backbone(path: epath.Path, model: str, shapes: Tree) -> tuple[Tree, WeightsFile]:
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
    tensors = h5_file.read_tensors(path)
    variables = keras_h5.convert(tensors, shapes, model=model, head=False, path=path)
    return variables, WeightsFile(path.name, keras_h5.tensors_sha256(tensors))
