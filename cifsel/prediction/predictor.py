"""A checkpoint that answers: which class a photo shows, how surely, and what that was seen in.

Both kinds of checkpoint do: task 1's, which know small pictures of some classes, and task 2's,
which know somebody's photos, and from which probability on they are to be believed.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from cifsel import workdir
from cifsel.data.photos.crops import Cropper
from cifsel.errors import UserError
from cifsel.evaluation import features, inference, scoring
from cifsel.models import classifier
from cifsel.prediction import gradcam, trained_model
from cifsel.runtime import remote
from cifsel.runtime.paths import exists, expanded
from cifsel.workdir.checkpoints import FOLDER, Checkpoints

Tree = Any
TASK1, SELFIE = "task1", "selfie"


class NoFaceError(UserError):
    """A photo without a face, for a model that was made from faces."""


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A restored model with everything between a photo and its answer.

    Attributes:
      task: TASK1 or SELFIE.
      class_names: K names, in the order of the probabilities.
      sure_from: the least highest probability that is to be believed; None if none is. It means
          nothing for TASK1, whose validation does not say.
      size: S, the side in pixels of what `show` gives.
      detail: T, the side in pixels at which the model sees it, and of what `explain` gives.
      temperature: by which logits are divided.
      cropper: chooses the part of a photo that is shown.
      needs_face: a photo in which there is no face is refused.
      logits: (N, S, S, 3) uint8 -> (N, K) float, for any N from 1 on.
      evidence: (1, S, S, 3) uint8 and (1,) classes -> (1, h, w) float32 in [0, 1].
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

    def show(self, images: Sequence[np.ndarray], names: Sequence[str]) -> np.ndarray:
        """Cuts out of photos what the model is shown.

        Args:
          images: N photos, (H, W, 3) uint8 each, of any sizes.
          names: theirs, for messages.

        Returns:
          (N, S, S, 3) uint8.

        Raises:
          NoFaceError: there is none in a photo, and the model knows faces only.
          UserError: faces cannot be looked for, for want of OpenCV.
        """
        shown = self.cropper.show(images, names, self.size)
        if self.needs_face:
            for name, face in zip(names, shown.faces, strict=True):
                if face is None:
                    raise NoFaceError(f"{name}: no face found, and this model judges nothing else")
        return shown.images

    def probabilities(self, shown: np.ndarray) -> np.ndarray:
        """(N, S, S, 3) uint8 as `show` gives them, N >= 1 -> (N, K) float64."""
        return scoring.softmax(self.logits(shown) / self.temperature)

    def unsure(self, probabilities: np.ndarray) -> np.ndarray:
        """(N, K) -> (N,) bool: which answers are not to be believed; none of TASK1's."""
        if self.task == TASK1:
            return np.zeros(len(probabilities), bool)
        least = np.inf if self.sure_from is None else self.sure_from
        return probabilities.max(1) < least

    def heat(self, shown: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """What speaks for a class, by position (Grad-CAM).

        Args:
          shown: (N, S, S, 3) uint8, as `show` gives them, N >= 1.
          classes: (N,) integer.

        Returns:
          (N, h, w) float32 in [0, 1], the maximum of each 1 unless all is 0.
        """
        columns = jnp.asarray(classes, jnp.int32)[:, None]
        one_by_one = zip(shown[:, None], columns, strict=True)  # compiles for one size only
        return np.concatenate([self.evidence(jnp.asarray(a), b) for a, b in one_by_one])

    def explain(self, shown: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """The same in pictures: in full colour what speaks for the class, the rest dimmed.

        Args:
          shown: as for `heat`.
          classes: as for `heat`.

        Returns:
          (N, T, T, 3) uint8.
        """
        pairs = zip(shown[:, None], self.heat(shown, classes)[:, None], strict=True)
        return np.concatenate([gradcam.overlay(one, heat, self.detail) for one, heat in pairs])


def batch_size() -> int:
    """Photos that go through the network at once, always as many so that it compiles once.

    A CPU is as quick with one as with many (25 and 30 ms a photo for B0 at 224 px), so a small
    number makes little of a single photo's wait.
    """
    return 4 if jax.default_backend() == "cpu" else 32


def load(folder: str) -> Predictor:
    """Restores a model from its run.

    Args:
      folder: the workdir of a run of either task, or a comparison's folder, for the better model.

    Raises:
      UserError: there is no checkpoint, it is damaged, or of an unknown kind.
    """
    run = run_of(remote.place(expanded(folder)))
    with Checkpoints(run, read_only=True) as saved:
        about = saved.meta()
        try:
            if about.get("task") == SELFIE:
                return _selfie(about, saved)
            if "task" not in about and "config" in about:
                return _task1(run)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise UserError(
                f"checkpoint {run / FOLDER} does not say what this version of cifsel needs to know"
                f" ({reason}): use the version that wrote it"
            ) from error
    raise UserError(
        f"checkpoint {run / FOLDER} is of task {about.get('task')!r}; expected one of task 1 or of"
        " configs/selfie.py: a newer version of cifsel may know it"
    )


def run_of(folder: epath.Path) -> epath.Path:
    """Finds the run that is meant.

    Args:
      folder: a workdir, or the folder of a comparison, whose best.json leads to one.

    Raises:
      UserError: there is no checkpoint.
    """
    remote.reach(folder)
    if exists(folder / FOLDER):
        return folder
    if not exists(folder / workdir.BEST):
        found = f"has neither {FOLDER}/ nor {workdir.BEST}" if exists(folder) else "is not there"
        raise UserError(f"{folder} {found}: give the workdir of a run, or a comparison's folder")
    named = workdir.read_json(folder / workdir.BEST).get("run")
    if not isinstance(named, str):
        raise UserError(f"{folder / workdir.BEST} does not name a run: make the comparison again")
    run = remote.place(named) if remote.is_remote(named) else folder / named
    remote.reach(run)
    if not exists(run / FOLDER):
        raise UserError(
            f"{folder / workdir.BEST} leads to {run}, which has no checkpoint ({run / FOLDER} is"
            " not there): give the folder that the run is in now"
        )
    return run


def _task1(run: epath.Path) -> Predictor:
    trained = trained_model.restore(run)
    forward = features.logits(trained.model, trained.view)
    evidence = gradcam.of_logits(trained.model, trained.view)
    return Predictor(
        task=TASK1,
        class_names=trained.class_names,
        sure_from=None,
        # It knows what is left of a picture at this size; more would be new to it.
        size=trained.image_side,
        detail=trained.view.image_size,
        temperature=1.0,
        cropper=Cropper("none", 1.0, fallback=True),
        needs_face=False,
        logits=_mapped(functools.partial(forward, trained.variables)),
        evidence=functools.partial(evidence, trained.variables),
    )


def _selfie(about: Mapping[str, Any], saved: Checkpoints) -> Predictor:
    names, size, backbone = tuple(about["class_names"]), about["image_size"], about["backbone"]
    view = features.View(size, about["resize"], about["mirror"])
    places = [(layer, grid) for layer, grid in about["places"]]
    model = classifier.build(backbone["model"], num_classes=len(names), alpha=backbone["alpha"])
    if unknown := {layer for layer, _ in places} - set(model.backbone.layer_names):
        raise ValueError(f"{backbone['model']} has no layer {', '.join(sorted(unknown))}")
    cells = features.cells(model, view, places)

    # Shapes alone: nothing is computed, or compiled, only to be replaced.
    whole = jax.eval_shape(lambda: classifier.initial(model, size, jax.random.key(0)))
    template = {kind: {"backbone": whole[kind]["backbone"]} for kind in ("params", "batch_stats")}
    batch = jax.ShapeDtypeStruct((batch_size(), size, size, 3), jnp.uint8)
    shapes = (jax.eval_shape(cells, template, batch).shape[1], len(names)), (len(names),)
    head = {
        part: jax.ShapeDtypeStruct(shape, jnp.float32)
        for part, shape in zip(("kernel", "bias"), shapes, strict=True)
    }
    tree = jax.tree.map(jnp.asarray, saved.model(template | {"head": head}))
    if tree["head"]["kernel"].shape != shapes[0]:  # orbax checks those that were saved from JAX
        raise ValueError(f"head has shape {tree['head']['kernel'].shape}, not {shapes[0]}")
    variables = {kind: tree[kind] for kind in template}
    kernel, bias = (np.asarray(tree["head"][part], np.float64) for part in ("kernel", "bias"))
    outputs = _mapped(functools.partial(cells, variables))
    crop = about["crop"]
    return Predictor(
        task=SELFIE,
        class_names=names,
        sure_from=about["sure_from"],
        size=size,
        detail=size,
        temperature=about["temperature"],
        # What is missing is told in terms of a photo, not of the config of a run.
        cropper=Cropper(crop["kind"], crop["margin"], fallback=True),
        needs_face=crop["kind"] == "face" and not crop["fallback"],
        # In double precision on the host, where accelerators would round.
        logits=lambda shown: outputs(shown) @ kernel + bias,
        evidence=functools.partial(
            gradcam.of_cells(model, view, places), variables, tree["head"]["kernel"]
        ),
    )


def _mapped(forward: Callable[[jax.Array], jax.Array]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda shown: inference.map_batches(forward, shown, batch_size())
