"""What competes in task 2: the same photos and folds, other weights or another method."""

import dataclasses
from collections import Counter
from datetime import datetime
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from cifsel.comparison import paired
from cifsel.data.photos.labelled import Photos
from cifsel.evaluation import features, inference
from cifsel.models.classifier import Classifier
from cifsel.prediction import predictor
from cifsel.selfie.protocol import folds as folds_lib
from cifsel.selfie.protocol import logistic, nested, scores, tuning
from cifsel.selfie.protocol.folds import Folds
from cifsel.selfie.protocol.sources import Source
from cifsel.terminal import say

Tree = Any
RESIZE = "bicubic"  # of photos that are shown at their own size: nothing is left to do


@dataclasses.dataclass(frozen=True)
class Album:
    """The photos as a model sees them.

    Attributes:
      photos: as they were read.
      images: (N, S, S, 3) uint8.
      faces: box of each face in its photo, or None.
      groups: (N,) int32, which belong together.
      copies: (i, j, exact) of photos that are copies of each other.
    """

    photos: Photos
    images: np.ndarray
    faces: tuple[tuple[int, int, int, int] | None, ...]
    groups: np.ndarray
    copies: tuple[tuple[int, int, bool], ...]

    def to_json(self, crop: str) -> dict[str, Any]:
        """What metrics.json says of the photos: no pixels."""
        photos = self.photos
        counts = np.bincount(photos.labels).tolist()
        return {
            "count": len(photos.names),
            "class_names": list(photos.class_names),
            "per_class": dict(zip(photos.class_names, counts, strict=True)),
            "names": list(photos.names),
            "labels": photos.labels.tolist(),
            "groups": self.groups.tolist(),
            "group_count": int(self.groups.max()) + 1,
            "taken": [_time(one) for one in photos.taken],
            "skipped": list(photos.skipped),
            "copies": [[photos.names[i], photos.names[j], exact] for i, j, exact in self.copies],
            "crop": crop,
            "faces": [None if face is None else list(face) for face in self.faces],
        }


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A method with weights, and what the folds say of it.

    Attributes:
      name: for people.
      method: 'probe' (logistic regression on features) or 'finetune'.
      source: its weights.
      folds: of the cross-validation that `by_repeat` comes from.
      by_repeat: (R, N, K) out-of-fold probabilities of each repetition.
      labels: (N,) int32.
      kfold: `scores.score` of them.
      leave_one_out: the same with each group held out by itself; None if it was not done.
      choices: what the folds chose, and their share.
      losses: of 'finetune', its held-out loss by epochs, mean over the folds; else empty.
      places: of the features, (layer, grid) each; for 'finetune', the last layer alone.
      rotated: the features of each place.
    """

    name: str
    method: str
    source: Source
    folds: Folds
    by_repeat: np.ndarray
    labels: np.ndarray
    kfold: dict[str, Any]
    leave_one_out: dict[str, Any] | None
    choices: list[dict[str, Any]]
    losses: list[dict[str, Any]]
    places: tuple[tuple[str, int], ...]
    rotated: tuple[logistic.Rotated, ...]

    @classmethod
    def probe(
        cls, config: ConfigDict, album: Album, source: Source, repeated: Folds, single: Folds | None
    ) -> "Candidate":
        """Logistic regression; layer, grid and penalty are chosen in the folds."""
        labels, groups = album.photos.labels, album.groups
        places = _places(config, source.model)
        rotated = _rotated(source, album.images, places)
        points = np.stack([one.points for one in rotated])
        num_classes = len(album.photos.class_names)
        outcome = nested.run(points, labels, repeated, config.l2, num_classes)
        by_repeat = scores.by_repeat(outcome.probabilities, repeated)
        alone = None
        if single is not None:
            found = nested.run(points, labels, single, config.l2, num_classes).probabilities
            alone = scores.score(scores.by_repeat(found, single), labels, groups)
        settings = Counter(zip(outcome.feature.tolist(), outcome.l2.tolist(), strict=True))
        choices = [
            {
                "layer": places[feature][0],
                "grid": places[feature][1],
                "l2": config.l2[l2],
                "share": count / len(repeated.test),
            }
            for (feature, l2), count in settings.most_common()
        ]
        return cls(
            name=f"{source.name}, probe",
            method="probe",
            source=source,
            folds=repeated,
            by_repeat=by_repeat,
            labels=labels,
            kfold=scores.score(by_repeat, labels, groups),
            leave_one_out=alone,
            choices=choices,
            losses=[],
            places=places,
            rotated=rotated,
        )

    @classmethod
    def tuned(
        cls, config: ConfigDict, album: Album, source: Source, repeated: Folds
    ) -> "Candidate":
        """Fine-tuning of the last layers; slow, so in the first repetition alone."""
        labels, groups = album.photos.labels, album.groups
        first = folds_lib.first_repeat(repeated)
        say(f"fine-tuning the last {config.tuned_layers} layers in {len(first.test)} folds")
        last = (source.model.backbone.layer_names[-1], 1)
        rotated = _rotated(source, album.images, (last,))
        found = _tune(config, album, source, rotated[0], first)
        by_repeat = scores.by_repeat(found.probabilities, first)
        choices = [
            {"epochs": epochs, "share": count / len(first.test)}
            for epochs, count in Counter(found.epochs.tolist()).most_common()
        ]
        return cls(
            name=f"{source.name}, fine-tuned",
            method="finetune",
            source=source,
            folds=first,
            by_repeat=by_repeat,
            labels=labels,
            kfold=scores.score(by_repeat, labels, groups),
            leave_one_out=None,
            choices=choices,
            losses=[
                {"epochs": epochs, "loss": float(loss)}
                for epochs, loss in zip(tuning.EPOCHS, found.losses.mean(0), strict=True)
            ],
            places=(last,),
            rotated=rotated,
        )

    @property
    def points(self) -> np.ndarray:
        """(S, N, N) float32, the features of each place."""
        return np.stack([one.points for one in self.rotated])

    def fit_all(
        self, config: ConfigDict, album: Album, everything: Folds
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The model of all photos as a tree to save, and how it came about."""
        variables, labels = self.source.variables, self.labels
        if self.method == "finetune":
            tuned = _tune(config, album, self.source, self.rotated[0], everything)
            params = {"backbone": variables["params"]["backbone"] | tuned.backbone}
            head = {"kernel": tuned.kernel, "bias": tuned.bias}
            chosen = {"l2": None, "temperature": float(tuned.temperature[0])}
            place = self.places[0]
        else:
            num_classes = len(album.photos.class_names)
            outcome = nested.run(self.points, labels, everything, config.l2, num_classes)
            feature, l2 = int(outcome.feature[0]), config.l2[int(outcome.l2[0])]
            kernel, bias = _solve(self.rotated[feature], labels, l2, num_classes)
            params, head = variables["params"], {"kernel": kernel, "bias": bias}
            chosen = {"l2": l2, "temperature": float(outcome.temperature[0])}
            place = self.places[feature]
        tree = {"params": params, "batch_stats": variables["batch_stats"], "head": head}
        return tree, chosen | {"places": [list(place)], "method": self.method}

    def against(self, other: "Candidate") -> paired.Difference:
        """Accuracy minus that of the other on the same photos, held out in the same way.

        One by one, if both were; else in the first repetition, which all candidates share.
        """
        if self.leave_one_out and other.leave_one_out:
            said = [
                np.asarray([one["probabilities"]])
                for one in (self.leave_one_out, other.leave_one_out)
            ]
        else:
            said = [one.by_repeat[:1] for one in (self, other)]
        return paired.difference(*(one.argmax(2) == self.labels for one in said))

    def difference_json(self, other: "Candidate") -> dict[str, Any]:
        """`against`, for metrics.json."""
        found = self.against(other)
        names = {"name": self.name, "against": other.name}
        return names | {key: getattr(found, key) for key in ("mean", "low", "high", "p")}

    def to_json(self) -> dict[str, Any]:
        """What metrics.json says of it."""
        return {
            "name": self.name,
            "source": self.source.origin,
            "model": self.source.model_name,
            "alpha": self.source.alpha,
            "method": self.method,
            "kfold": self.kfold,
            "leave_one_out": self.leave_one_out,
            "choices": self.choices,
            "losses": self.losses,
        }


def _places(config: ConfigDict, model: Classifier) -> tuple[tuple[str, int], ...]:
    names = model.backbone.layer_names
    layers = dict.fromkeys(names[round(depth * (len(names) - 1))] for depth in config.depths)
    return tuple((layer, grid) for layer in layers for grid in dict.fromkeys(config.grids))


def _rotated(
    source: Source, images: np.ndarray, places: tuple[tuple[str, int], ...]
) -> tuple[logistic.Rotated, ...]:
    view = features.View(source.image_size, RESIZE, mirror=True)
    forward = features.cells(source.model, view, places)
    found = inference.map_batches(
        lambda batch: forward(source.variables, batch),
        images,
        predictor.batch_size(),
        progress=f"features, {source.name}",
    )
    widths = [
        jax.eval_shape(features.cells(source.model, view, [place]), source.variables, images).shape
        for place in places
    ]
    ends = np.cumsum([width for _, width in widths])[:-1]
    return tuple(map(logistic.Rotated.of, np.split(found, ends, axis=1)))


def _tune(
    config: ConfigDict, album: Album, source: Source, rotated: logistic.Rotated, folds: Folds
) -> tuning.Tuned:
    # The first stays: something must lead to those that are tuned.
    layers = source.model.backbone.layer_names[1:][-config.tuned_layers :]
    forward = tuning.head_maps(source.model, layers)
    images = album.images.astype(np.float32)
    maps = [
        np.concatenate([np.asarray(forward(source.variables, one[None])) for one in view])
        for view in (images, images[:, :, ::-1])
    ]
    return tuning.run(
        source.model,
        source.variables,
        maps=(maps[0], maps[1]),
        rotated=rotated,
        labels=album.photos.labels,
        folds=folds,
        layers=layers,
        l2=tuple(config.l2),
        num_classes=len(album.photos.class_names),
    )


def _solve(
    rotated: logistic.Rotated, labels: np.ndarray, l2: float, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Head of all photos, for features as they are: kernel (D, K) and bias (K,)."""
    own = labels[None]
    weights = nested.balanced(jnp.asarray(own), jnp.ones(own.shape, bool), num_classes)
    kernel, bias = logistic.solve(
        jnp.asarray(rotated.points),
        jnp.asarray(own),
        weights,
        jnp.asarray([l2], jnp.float32),
        num_classes=num_classes,
    )
    return rotated.unrotate(np.asarray(kernel[:, :, 0, 0]), np.asarray(bias[:, 0, 0]))


def _time(taken: datetime | None) -> str | None:
    return None if taken is None else taken.isoformat()
