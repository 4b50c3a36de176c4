"""The forward passes of a run over its splits."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from etils import epath
from jaxtyping import Float

from cifsel import workdir
from cifsel.data.splits import Split
from cifsel.evaluation import features as forward_passes
from cifsel.evaluation import inference
from cifsel.models.classifier import Classifier

Tree = Any


class Passes:
    """Applies a run's model to its splits.

    Outputs of the backbone with its published weights are kept in the workdir until the run is
    finished, so that a run that was interrupted does not compute them again.

    Args:
      folder: the workdir.
      model: the classifier.
      view: how images are shown to it.
      batch_size: images per forward pass.
    """

    def __init__(
        self, folder: epath.Path, model: Classifier, view: forward_passes.View, batch_size: int
    ) -> None:
        self._folder, self._model, self._view, self._batch_size = folder, model, view, batch_size

    @functools.cached_property
    def predict(self) -> forward_passes.Forward:
        """The function that computes logits. Training and scoring share it, so it compiles once."""
        return forward_passes.logits(self._model, self._view)

    @functools.cached_property
    def _pooled(self) -> forward_passes.Forward:
        return forward_passes.pooled(self._model, self._view)

    @functools.cached_property
    def _maps(self) -> forward_passes.Forward:
        return forward_passes.maps(self._model, dataclasses.replace(self._view, mirror=False))

    def logits(self, variables: Tree, split: Split, name: str) -> Float[np.ndarray, "n k"]:
        """Computes the logits of a split."""
        return self._map(self.predict, variables, split, f"predicting {name} images")

    def features(
        self, variables: Tree, split: Split, name: str, *, keep: bool = True
    ) -> Float[np.ndarray, "n d"]:
        """Computes the backbone's features of a split, averaged over positions.

        They are kept for a process that goes on with the run, unless `keep` is False.
        """
        if not keep:
            return self._map(self._pooled, variables, split, f"{name} features")
        return self._cached(f"{name}_features", self._pooled, variables, split)

    def maps(self, variables: Tree, split: Split, name: str) -> Float[np.ndarray, "n h w d"]:
        """Computes the backbone's feature maps of a split, not mirrored, and keeps them."""
        return self._cached(f"{name}_maps", self._maps, variables, split)

    def _map(
        self, forward: forward_passes.Forward, variables: Tree, split: Split, label: str
    ) -> np.ndarray:
        forward_batch = functools.partial(forward, variables)
        return inference.map_batches(forward_batch, split.images, self._batch_size, progress=label)

    def _cached(
        self, name: str, forward: forward_passes.Forward, variables: Tree, split: Split
    ) -> np.ndarray:
        label = name.replace("_", " ")
        return workdir.cached_array(
            self._folder,
            name,
            lambda: self._map(forward, variables, split, label),
            lambda: jax.eval_shape(forward, variables, split.images),
        )
