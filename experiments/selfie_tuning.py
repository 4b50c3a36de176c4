"""Fine-tunes for task 2 over many draws, from ImageNet weights and from a checkpoint of task 1.

    python -m experiments.selfie_tuning --photos=FOLDER,FOLDER --checkpoint=RUN \
      --json=experiments/results/selfie_tuning.json

The draws are those of `experiments.selfie_draws`, with 24 photos each. From each backbone there are
three classifiers: the average over layers that task 2 makes by default, the linear probe of the
last layer that fine-tuning starts from, and the fine-tuned last layers. All are tested on the
photos of people that the draw does not have. Fine-tuning takes a minute and more for a draw, so it
has the crop 'expression' and the first draws alone.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from cifsel.config import Parser, path
from cifsel.data.photos import crops
from cifsel.runtime import command
from cifsel.runtime.terminal import say
from cifsel.selfie.protocol import folds as folds_lib
from cifsel.selfie.protocol import layer_features, nested_cv, pretrained
from cifsel.selfie.protocol.finetuning import fine_tune_in_folds, last_layers, layer_inputs
from cifsel.selfie.protocol.logistic import RotatedFeatures
from cifsel.selfie.protocol.pretrained import PretrainedBackbone
from experiments.selfie_draws import (
    AVERAGE,
    Pool,
    Score,
    add_pool,
    draws,
    read_pool,
    record_rows,
    rescaled,
)

_PHOTOS = 24
_CROPS = (crops.NONE, crops.EXPRESSION)
FINE_TUNED = "fine-tuned"


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """All photos as one backbone sees them.

    Attributes:
      backbone: the network.
      layers: its last ones, which are tuned.
      maps: the inputs of these layers, of the photos and of their mirror images.
      pooled: features (N, D) of the last layer, averaged over positions and both views.
      points: coordinates (S, N, N) of the layers that task 2 averages over.
    """

    backbone: PretrainedBackbone
    layers: tuple[str, ...]
    maps: tuple[np.ndarray, np.ndarray]
    pooled: np.ndarray
    points: np.ndarray

    @classmethod
    def of(cls, pool: Pool, backbone: PretrainedBackbone, crop: str, tuned_layers: int) -> "Shown":
        """Computes all that classifiers are made from."""
        cropper = crops.Cropper(crop, 1.0, fallback=True)
        images = cropper.show(pool.photos.images, pool.photos.names, backbone.image_size).images
        places = layer_features.layers_and_grids(backbone.model, AVERAGE.depths, AVERAGE.grids)
        averaged = layer_features.extract_features(backbone, images, places)
        layers = backbone.model.backbone.layer_names[-tuned_layers:]
        forward = layer_inputs(backbone.model, layers)
        pixels = images.astype(np.float32)
        first, second = (
            np.concatenate([np.asarray(forward(backbone.variables, image[None])) for image in view])
            for view in (pixels, pixels[:, :, ::-1])
        )
        after = jax.jit(functools.partial(last_layers, backbone.model, layers))
        pooled = np.mean([after(backbone.variables, maps) for maps in (first, second)], 0)
        points = layer_features.stacked_points(averaged)
        return cls(backbone, layers, (first, second), pooled, points)


def average(shown: Shown, pool: Pool, chosen: np.ndarray) -> np.ndarray:
    """Probabilities (N, 2) of all photos by the default of task 2."""
    return _probe(rescaled(shown.points, chosen), pool, chosen, average=True)


def probe(shown: Shown, pool: Pool, chosen: np.ndarray) -> np.ndarray:
    """Probabilities (N, 2) of all photos by the probe that fine-tuning starts from."""
    points = RotatedFeatures.of(shown.pooled).points[None]
    return _probe(rescaled(points, chosen), pool, chosen, average=False)


def _probe(points: np.ndarray, pool: Pool, chosen: np.ndarray, *, average: bool) -> np.ndarray:
    own = np.flatnonzero(chosen)
    labels = pool.photos.labels
    everything = folds_lib.nothing_held_out(labels[own], pool.groups[own], folds=5, seed=0)
    test, inner = np.ones((1, len(labels)), bool), np.zeros((1, 5, len(labels)), bool)
    test[:, own], inner[:, :, own] = everything.test, everything.inner
    folds = folds_lib.Folds(test, inner, 1)
    made = nested_cv.nested_cross_validation(points, labels, folds, AVERAGE.l2, 2, average=average)
    return made.probabilities[0]


def tuned(shown: Shown, pool: Pool, chosen: np.ndarray) -> np.ndarray:
    """Probabilities (N, 2) of all photos after fine-tuning on those chosen."""
    own = np.flatnonzero(chosen)
    labels, model = pool.photos.labels, shown.backbone.model
    made = fine_tune_in_folds(
        model,
        shown.backbone.variables,
        maps=(shown.maps[0][own], shown.maps[1][own]),
        rotated=RotatedFeatures.of(shown.pooled[own]),
        labels=labels[own],
        folds=folds_lib.nothing_held_out(labels[own], pool.groups[own], folds=5, seed=0),
        layers=shown.layers,
        l2=AVERAGE.l2,
        num_classes=2,
    )
    variables = {
        "params": {"backbone": made.backbone},
        "batch_stats": shown.backbone.variables["batch_stats"],
    }
    after = jax.jit(functools.partial(last_layers, model, shown.layers))
    pooled = np.mean([after(variables, maps) for maps in shown.maps], 0)
    logits = (pooled @ made.kernel + made.bias) / made.temperature[0]
    return np.asarray(jax.nn.softmax(logits))


METHODS = {"average": average, "probe": probe, FINE_TUNED: tuned}


def rows_of(
    pool: Pool, backbones: Sequence[PretrainedBackbone], flags: Any
) -> Iterator[dict[str, Any]]:
    """Yields a row for each backbone, crop and method."""
    for backbone, crop in itertools.product(backbones, _CROPS):
        shown = Shown.of(pool, backbone, crop, flags.tuned_layers)
        for name, method in METHODS.items():
            if name == FINE_TUNED and (crop != crops.EXPRESSION or not flags.tuned_draws):
                continue
            count = flags.tuned_draws if name == FINE_TUNED else flags.draws
            scores = [
                Score.of(method(shown, pool, chosen)[tested], pool.photos.labels[tested])
                for chosen, tested in draws(pool, _PHOTOS, count)
            ]
            yield {
                "model": backbone.model_name,
                "weights": backbone.name,
                "size": backbone.image_size,
                "crop": crop,
                "method": name,
                "tuned_layers": flags.tuned_layers if name == FINE_TUNED else 0,
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
        f" --tuned_draws={flags.tuned_draws} --image_size={flags.image_size}"
        f" --tuned_layers={flags.tuned_layers}",
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
    add("--tuned_draws", type=int, default=6, metavar="N", help="of these, default: 6, 0: none")
    add("--image_size", type=int, default=224, metavar="PIXELS", help="default: 224")
    add("--tuned_layers", type=int, default=2, metavar="N", help="last layers, default: 2")
    flags = parser.parse_args()
    command.start_terminal()
    command.guarded(lambda: measure(flags))


if __name__ == "__main__":
    main()
