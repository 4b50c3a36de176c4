"""The classifier of a run of task 2, restored from its checkpoint."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from cifsel.evaluation import features
from cifsel.evaluation.distances import Typical
from cifsel.models import classifier
from cifsel.models.classifier import Classifier
from cifsel.prediction.trained_model import Stored
from cifsel.runtime import compiling, executables
from cifsel.workdir.model_meta import SelfieMeta

Tree = Any


@dataclasses.dataclass(frozen=True)
class SelfieModel:
    """A classifier of somebody's own photos as its run left it.

    Attributes:
      meta: everything but the weights.
      model: the backbone, below a head that is not used.
      variables: the backbone's `params` and `batch_stats`.
      view: how photos are shown to it.
      kernel: of the head, from the outputs of `features.cells` to logits.
      bias: of the head.
      typical: the features of the photos that it was made from. None if they are not known.
      channels: of each place of `meta`, for `typical`.
      digest: of the checkpoint's files.
    """

    meta: SelfieMeta
    model: Classifier
    variables: Tree
    view: features.View
    kernel: Float32[jax.Array, "d k"]
    bias: Float32[jax.Array, " k"]
    typical: Typical | None = None
    channels: tuple[int, ...] = ()
    digest: str = ""


def restore_selfie(meta: SelfieMeta, stored: Stored) -> SelfieModel:
    """Restores the weights from checkpoints or a file whose `meta` has been read.

    Raises:
      UserError: the checkpoint is damaged.
      ValueError: its parts do not fit each other.
    """
    name, size, num_classes = meta.backbone.model, meta.image_size, len(meta.class_names)
    compiling.name_model(name)
    model = classifier.build(name, num_classes=num_classes, alpha=meta.backbone.alpha)
    if unknown := {layer for layer, _ in meta.places} - set(model.backbone.layer_names):
        raise ValueError(f"{name} has no layer {', '.join(sorted(unknown))}")
    view = features.View(size, meta.resize, meta.mirror)
    # Shapes alone: nothing is computed or compiled only to be replaced.
    whole = executables.kept_shapes(functools.partial(classifier.initial, model, size))
    backbone = {kind: {"backbone": whole[kind]["backbone"]} for kind in ("params", "batch_stats")}
    channels = features.cell_channels(model, backbone, size, meta.places)
    cells = sum(grid**2 * own for (_, grid), own in zip(meta.places, channels, strict=True))
    head = {
        "kernel": jax.ShapeDtypeStruct((cells, num_classes), jnp.float32),
        "bias": jax.ShapeDtypeStruct((num_classes,), jnp.float32),
    }
    typical_arrays = {
        name: jax.ShapeDtypeStruct((sum(channels),), jnp.float32) for name in ("mean", "spread")
    }
    parts = backbone | {"head": head}
    if meta.unlike_from is not None:
        parts |= {"typical": typical_arrays}
    tree = jax.device_put(stored.model(parts))
    kernel, bias = tree["head"]["kernel"], tree["head"]["bias"]
    variables = {kind: tree[kind] for kind in backbone}
    restored = SelfieModel(meta, model, variables, view, kernel, bias)
    if meta.unlike_from is None:
        return restored
    mean, spread = (np.asarray(tree["typical"][name]) for name in ("mean", "spread"))
    typical = Typical(mean, spread)
    return dataclasses.replace(restored, typical=typical, channels=tuple(channels))
