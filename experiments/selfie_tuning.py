"""Scores task 2 over many draws, from ImageNet weights and from a checkpoint of task 1.

    python -m experiments.selfie_tuning --photos=FOLDER,FOLDER --checkpoint=RUN \
      --json=experiments/results/selfie_tuning.json

The draws are those of `experiments.selfie_draws`, with 24 photos each. From each backbone there are
two classifiers: the average over layers that task 2 makes by default, and the linear probe of the
last layer. Both are tested on the photos of people that the draw does not have.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cifsel.config import Parser, path
from cifsel.data.photos import crops
from cifsel.runtime import command
from cifsel.runtime.terminal import say
from cifsel.selfie.protocol import folds as folds_lib
from cifsel.selfie.protocol import layer_features, nested_cv, pretrained
from cifsel.selfie.protocol.pretrained import PretrainedBackbone
from experiments.selfie_draws import (
    AVERAGE,
    Pool,
    Score,
    add_pool,
    among_all,
    cropper,
    draws,
    read_pool,
    record_rows,
    rescaled,
)

_PHOTOS = 24
_CROPS = (crops.NONE, crops.EXPRESSION)


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """All photos as one backbone sees them.

    Attributes:
      last: coordinates (1, N, N) of the last layer, averaged over positions.
      averaged: coordinates (S, N, N) of the layers that task 2 averages over.
    """

    last: np.ndarray
    averaged: np.ndarray

    @classmethod
    def of(cls, pool: Pool, backbone: PretrainedBackbone, crop: str) -> "Shown":
        """Computes all that classifiers are made from."""
        photos, size = pool.photos, backbone.image_size
        images = cropper(crop).show(photos.images, photos.names, size).images
        last = (backbone.model.backbone.layer_names[-1], 1)
        places = layer_features.layers_and_grids(backbone.model, AVERAGE.depths, AVERAGE.grids)
        made = layer_features.extract_features(backbone, images, [last, *places])
        points = layer_features.stacked_points(made)
        return cls(points[:1], points[1:])


def average(shown: Shown, pool: Pool, chosen: np.ndarray) -> np.ndarray:
    """Probabilities (N, 2) of all photos by the default of task 2."""
    return _probe(rescaled(shown.averaged, chosen), pool, chosen, average=True)


def probe(shown: Shown, pool: Pool, chosen: np.ndarray) -> np.ndarray:
    """Probabilities (N, 2) of all photos by the probe of the last layer."""
    return _probe(rescaled(shown.last, chosen), pool, chosen, average=False)


def _probe(points: np.ndarray, pool: Pool, chosen: np.ndarray, *, average: bool) -> np.ndarray:
    own = np.flatnonzero(chosen)
    labels = pool.photos.labels
    everything = folds_lib.nothing_held_out(labels[own], pool.groups[own], folds=5, seed=0)
    folds = among_all(chosen, everything)
    made = nested_cv.nested_cross_validation(points, labels, folds, AVERAGE.l2, 2, average=average)
    return made.probabilities[0]


METHODS = {"average": average, "probe": probe}


def rows_of(
    pool: Pool, backbones: Sequence[PretrainedBackbone], flags: Any
) -> Iterator[dict[str, Any]]:
    """Yields a row for each backbone, crop and method."""
    for backbone, crop in itertools.product(backbones, _CROPS):
        shown = Shown.of(pool, backbone, crop)
        for name, method in METHODS.items():
            scores = [
                Score.of(method(shown, pool, chosen)[tested], pool.photos.labels[tested])
                for chosen, tested in draws(pool, _PHOTOS, flags.draws)
            ]
            yield {
                "model": backbone.model_name,
                "weights": backbone.name,
                "size": backbone.image_size,
                "crop": crop,
                "method": name,
                "draws": [dataclasses.asdict(score) for score in scores],
            }
            mean = np.mean([score.accuracy for score in scores])
            say(f"{backbone.name}, {crop}, {name}: {mean:.1%}")


def measure(flags: Any) -> None:
    """Measures all."""
    pool = read_pool(flags.photos.split(","), flags.people, flags.same.split(","))
    backbones = pretrained.pretrained_backbones(
        flags.checkpoint, imagenet_model="", weights_dir=None, image_size=flags.image_size
    )
    record_rows(
        rows_of(pool, backbones, flags),
        # Without the folders of this machine.
        f"python -m experiments.selfie_tuning --photos=FOLDER,FOLDER --checkpoint=RUN"
        f" --people={flags.people!r} --same={flags.same} --draws={flags.draws}"
        f" --image_size={flags.image_size}",
        pool,
        flags.json,
    )


def main() -> None:
    """Parses the command line and measures."""
    parser = Parser("experiments.selfie_tuning", __doc__)
    add_pool(parser)
    add = parser.add_argument
    words = "fine-tuned run of task 1, or model file"
    add("--checkpoint", required=True, type=path, metavar="PATH", help=words)
    add("--draws", type=int, default=12, metavar="N", help="draws of 24 photos, default: 12")
    add("--image_size", type=int, default=224, metavar="PIXELS", help="default: 224")
    flags = parser.parse_args()
    command.start_terminal()
    command.guarded(lambda: measure(flags))


if __name__ == "__main__":
    main()
