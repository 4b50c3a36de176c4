"""A restored model that predicts the class of a photo, with a probability and a heat map.

Checkpoints of both tasks become a `Predictor`. Task 1 is the comparison of two ImageNet networks on
classes of CIFAR-100. Task 2 is a classifier of somebody's own photos, which also says from which
probability on its answers are reliable.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from cifsel.data.photos.crops import NONE, Cropper
from cifsel.errors import UserError
from cifsel.evaluation import features, inference, scoring
from cifsel.prediction import gradcam, restoring
from cifsel.prediction.selfie_model import SelfieModel
from cifsel.prediction.trained_model import TrainedModel
from cifsel.runtime import remote, sharding
from cifsel.runtime.paths import expanded
from cifsel.workdir.model_meta import SELFIE, SeenPhoto

TASK1 = "task1"
JAX = "jax"


# Images of `show` (B, s, s, 3) uint8 -> (B, ...) float32.
Outputs = Callable[[jax.Array], Any]


class NoFaceError(UserError):
    """A photo has no face in it, and the model was trained on faces."""


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A restored model, from photos to probabilities and heat maps.

    Attributes:
      task: TASK1 or SELFIE.
      class_names: K names, in the order of the probabilities.
      sure_from: the least highest probability of a reliable answer. None if no answer is reliable.
        Not used for TASK1.
      size: s, the side in pixels of the images of `show`.
      detail: t, the side in pixels of the model's input, and of the pictures of `explain`.
      temperature: by which logits are divided.
      cropper: cuts the part out of a photo that the model is shown.
      needs_face: refuse a photo without a face.
      logits: maps images (n, s, s, 3) uint8, n >= 1, to logits (n, k).
      evidence: maps one image (1, s, s, 3) uint8 and its class (1,) to a heat map (1, h, w) float32
        in [0, 1].
      seen: the photos that it has learned from. Empty for TASK1, whose images are no files.
      set_from: the least probability of a class in an answer's set of classes. None for answers
        without sets.
      digest: of the checkpoint's files. Answers of the same digest are the same.
      judge: as `logits`, and also returns how far each image is from those of training (n,). None
        where that is not known.
      unlike_from: the least distance of an image that is unlike those of training. None where that
        is not known.
      calibration: the probability of the true class of each validation image, where a model file
        has them.
      runtime: what computes the forward pass: JAX, or one of `engines.ENGINES`.
    """

    task: str
    class_names: tuple[str, ...]
    sure_from: float | None
    size: int
    detail: int
    temperature: float
    cropper: Cropper
    needs_face: bool
    logits: Callable[[np.ndarray], np.ndarray]
    evidence: Callable[[jax.Array, jax.Array], jax.Array]
    seen: tuple[SeenPhoto, ...] = ()
    set_from: float | None = None
    digest: str = ""
    judge: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None
    unlike_from: float | None = None
    calibration: Float[np.ndarray, " n"] | None = None
    runtime: str = JAX

    def show(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], names: Sequence[str]
    ) -> UInt8[np.ndarray, "n s s 3"]:
        """Cuts the images that the model is shown out of photos.

        Args:
          images: photos of any sizes.
          names: of the photos, for messages.

        Raises:
          NoFaceError: a photo has no face, and the model was trained on faces.
          UserError: what finds faces is not installed.
        """
        shown = self.cropper.show(images, names, self.size)
        if self.needs_face:
            for name, face in zip(names, shown.faces, strict=True):
                if face is None:
                    raise NoFaceError(f"{name}: no face found, and this model judges nothing else")
        return shown.images

    def probabilities(self, shown: UInt8[np.ndarray, "n s s 3"]) -> Float[np.ndarray, "n k"]:
        """The probabilities of the classes, float64, of images of `show`."""
        return scoring.softmax(self.logits(shown) / self.temperature)

    def judged(
        self, shown: UInt8[np.ndarray, "n s s 3"]
    ) -> tuple[Float[np.ndarray, "n k"], Bool[np.ndarray, " n"]]:
        """The probabilities of images of `show`, and which images are unlike those of training.

        None is, where that is not known.
        """
        if self.judge is None or self.unlike_from is None:
            return self.probabilities(shown), np.zeros(len(shown), bool)
        logits, distances = self.judge(shown)
        return scoring.softmax(logits / self.temperature), distances > self.unlike_from

    def unsure(self, probabilities: Float[np.ndarray, "n k"]) -> Bool[np.ndarray, " n"]:
        """Which answers are not reliable. Task 1's checkpoints do not say, so none of theirs."""
        if self.task == TASK1:
            return np.zeros(len(probabilities), bool)
        least = np.inf if self.sure_from is None else self.sure_from
        return probabilities.max(1) < least

    def heat(
        self, shown: UInt8[np.ndarray, "n s s 3"], classes: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n h w"]:
        """Evidence for one class per image, by position (Grad-CAM).

        Args:
          shown: images of `show`, at least one.
          classes: whose evidence is shown.

        Returns:
          float32 in [0, 1]. The maximum of each image is 1, unless all is 0.
        """
        columns = jnp.asarray(classes, jnp.int32)[:, None]
        # One image at a time, so that it compiles for one batch size only.
        pairs = zip(shown[:, None], columns, strict=True)
        return np.concatenate([self.evidence(jnp.asarray(image), label) for image, label in pairs])

    def explain(
        self, shown: UInt8[np.ndarray, "n s s 3"], classes: Int[np.ndarray, " n"]
    ) -> UInt8[np.ndarray, "n t t 3"]:
        """Pictures of the evidence: in full colour where it is high, dimmed where it is low.

        Args:
          shown: images of `show`, at least one.
          classes: whose evidence is shown.
        """
        pairs = zip(shown[:, None], self.heat(shown, classes)[:, None], strict=True)
        return np.concatenate([gradcam.overlay(image, heat, self.detail) for image, heat in pairs])


def batch_size() -> int:
    """Photos per forward pass, on all devices. The number is fixed, so that it compiles once.

    A CPU is as quick with one photo at a time as with many. With a small number, a single photo
    does not wait for the padding of its batch.
    """
    return (4 if jax.default_backend() == "cpu" else 32) * jax.device_count()


def load(folder: str) -> Predictor:
    """Restores the model of a run, or of a model file.

    Args:
      folder: the workdir of a run of either task, the folder of a comparison, for the better model,
        or a file that `cifsel.export --format=cifsel` wrote.

    Raises:
      UserError: there is no checkpoint, or it is damaged, of another run, or of an unknown
        kind.
    """
    return of(restoring.restore(restoring.run_of(remote.place(expanded(folder)))))


def of(trained: TrainedModel | SelfieModel, outputs: Outputs | None = None) -> Predictor:
    """The predictor of a restored model.

    Args:
      trained: the model.
      outputs: computes in the place of JAX: logits, or for task 2 the outputs of `features.cells`.
    """
    if isinstance(trained, TrainedModel):
        return _of_classifier(trained, outputs)
    return _of_selfie(trained, outputs)


def _of_classifier(trained: TrainedModel, outputs: Outputs | None) -> Predictor:
    """The predictor of a classifier of task 1."""
    forward = features.logits(trained.model, trained.view)
    evidence = gradcam.of_logits(trained.model, trained.view)
    variables = sharding.everywhere(trained.variables)
    return Predictor(
        task=TASK1,
        class_names=trained.class_names,
        sure_from=None,
        # It was trained on images of this size. Photos with more detail would be new to it.
        size=trained.image_side,
        detail=trained.view.image_size,
        temperature=1.0,
        cropper=Cropper("none", 1.0, fallback=True, whole=trained.config.get("fit") == "pad"),
        needs_face=False,
        logits=_batched(outputs or functools.partial(forward, variables)),
        evidence=functools.partial(evidence, variables),
        digest=trained.digest,
        calibration=trained.calibration,
    )


def _of_selfie(trained: SelfieModel, replaced: Outputs | None) -> Predictor:
    """The predictor of a classifier of task 2."""
    meta, model, view = trained.meta, trained.model, trained.view
    variables = sharding.everywhere(trained.variables)
    cells = features.cells(model, view, meta.places)
    outputs = _batched(replaced or functools.partial(cells, variables))
    kernel64, bias64 = np.asarray(trained.kernel, np.float64), np.asarray(trained.bias, np.float64)
    evidence = gradcam.of_cells(model, view, meta.places)

    def judge(shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, typical = outputs(shown), trained.typical
        distances = np.zeros(len(shown))
        if typical is not None:
            pooled = features.without_cells(values, meta.places, trained.channels)
            distances = typical.distances(pooled)
        # In double precision on the host, where accelerators would round.
        return values @ kernel64 + bias64, distances

    return Predictor(
        task=SELFIE,
        class_names=meta.class_names,
        sure_from=meta.sure_from,
        size=meta.image_size,
        detail=meta.image_size,
        temperature=meta.temperature,
        # `needs_face` refuses a photo without a face, in words that fit a photo.
        cropper=Cropper(meta.crop.kind, meta.crop.margin, fallback=True, middle=meta.crop.middle),
        needs_face=meta.crop.kind != NONE and not meta.crop.fallback,
        logits=lambda shown: judge(shown)[0],
        evidence=functools.partial(evidence, variables, trained.kernel),
        seen=meta.seen,
        digest=trained.digest,
        judge=judge,
        unlike_from=meta.unlike_from,
    )


def _batched(forward: Outputs) -> Callable[[np.ndarray], np.ndarray]:
    return lambda shown: inference.map_batches(forward, shown, batch_size())
