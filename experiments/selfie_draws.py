"""Scores task 2 on people it has never seen: many draws of a few photos, tested on all others.

    python -m experiments.selfie_draws --photos=FOLDER,FOLDER --draws=20 \
      --json=experiments/results/selfie_draws.json

Each folder has a sub-folder for each class. Photos of one person count as one group: those whose
names match --people, such as '(person[0-9]+)_', and those named together by --same. A draw takes
12, 24 or 48 photos, as many of each class. The classifier is made from them alone, as
`cifsel.selfie` makes it, and is tested on all photos of other groups. Features are computed once
for each network and crop, and are kept in --cache.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import metrics

from cifsel.config import SELFIE, Parser, path
from cifsel.data.photos import crops, grouping, labelled
from cifsel.models import classifier
from cifsel.runtime import command
from cifsel.runtime.terminal import say
from cifsel.selfie.photos import cropper_of
from cifsel.selfie.protocol import folds as folds_lib
from cifsel.selfie.protocol import layer_features, nested_cv, pretrained, scores
from cifsel.selfie.protocol.candidate_probe import ProbeSettings
from cifsel.workdir import provenance

MODELS = ("efficientnetv2-b0", "mobilenet")
SIZES = (12, 24, 48)
DEFAULTS = {name: field.default for name, field in SELFIE.fields.items()}
AVERAGE = ProbeSettings(DEFAULTS["depths"], (DEFAULTS["grid"],), (DEFAULTS["penalty"],), True)
CHOOSE = ProbeSettings((0.4, 0.6, 0.8, 1.0), DEFAULTS["grids"], DEFAULTS["l2"], False)


@dataclasses.dataclass(frozen=True, eq=False)
class Pool:
    """All photos that draws are from.

    Attributes:
      photos: pixels and labels.
      groups: a number for each photo, the same for those of one person.
    """

    photos: labelled.Photos
    groups: np.ndarray


@dataclasses.dataclass(frozen=True)
class Score:
    """How well the photos of others are told apart.

    Attributes:
      accuracy: of the answers.
      recalls: accuracy by class.
      auc: area under the ROC curve.
      log_loss: in nats.
      confidence: the mean of the highest probability.
    """

    accuracy: float
    recalls: tuple[float, ...]
    auc: float
    log_loss: float
    confidence: float

    @classmethod
    def of(cls, answers: np.ndarray, truth: np.ndarray) -> "Score":
        """Scores probabilities (N, 2) against classes (N,)."""
        predicted = answers.argmax(1)
        return Score(
            accuracy=float((predicted == truth).mean()),
            recalls=tuple(float((predicted == k)[truth == k].mean()) for k in (0, 1)),
            auc=float(metrics.roc_auc_score(truth, answers[:, 1])),
            log_loss=float(metrics.log_loss(truth, answers)),
            confidence=float(answers.max(1).mean()),
        )


@dataclasses.dataclass(frozen=True)
class Draw(Score):
    """The result of one draw.

    Attributes:
      claimed: accuracy with each photo of the draw held out, as a report gives it.
    """

    claimed: float


def read_pool(folders: Sequence[str], people: str, same: Sequence[str]) -> Pool:
    """Reads the photos of all folders."""
    read = [labelled.load_photos(folder) for folder in folders]
    if len({own.class_names for own in read}) > 1:
        raise ValueError("the folders have different classes")
    names = [name for own in read for name in own.names]
    photos = labelled.Photos(
        images=tuple(image for own in read for image in own.images),
        labels=np.concatenate([own.labels for own in read]),
        names=tuple(names),
        class_names=read[0].class_names,
        taken=tuple(time for own in read for time in own.taken),
        skipped=(),
    )
    matches = {name: re.search(people, name) for name in names} if people else {}
    known = {name: match[1] for name, match in matches.items() if match}
    known |= {name: "same" for name in names if any(part in name for part in same if part)}
    return Pool(photos, grouping.groups(photos, burst_seconds=0, people=known))


def cropper(crop: str) -> crops.Cropper:
    """Returns a crop with the default fields of task 2. Photos without a face show their middle."""
    return dataclasses.replace(cropper_of(SELFIE.defaults()), kind=crop, fallback=True)


def features_of(pool: Pool, model: str, crop: str, settings: ProbeSettings, cache: Path) -> Any:
    """Coordinates (S, N, N) of all photos, from the cache if they are there."""
    built = classifier.build(model, num_classes=2)
    places = layer_features.layers_and_grids(built, settings.depths, settings.grids)
    parts = [f"{layer}x{grid}" for layer, grid in places]
    file = cache / f"{model}-{crop}-{DEFAULTS['crop_middle']}-{len(pool.groups)}.npz"
    kept = dict(np.load(file)) if file.exists() else {}
    missing = [place for place, part in zip(places, parts, strict=True) if part not in kept]
    if missing:
        backbone = pretrained.pretrained_backbones(
            "imagenet", imagenet_model=model, weights_dir=None, image_size=DEFAULTS["image_size"]
        )[0]
        shown = cropper(crop).show(pool.photos.images, pool.photos.names, backbone.image_size)
        say(f"{crop}: {sum(face is None for face in shown.faces)} photos without a face")
        for own in layer_features.extract_features(backbone, shown.images, missing):
            kept[f"{own.layer}x{own.grid}"] = own.rotated.points
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(file, **kept)
    return np.stack([kept[part] for part in parts])


def draws(pool: Pool, size: int, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the photos to learn from and those to test on, by draw, as bool (N,)."""
    labels = pool.photos.labels
    classes = labels.max() + 1
    for number in range(count):
        rng = np.random.default_rng([size, number])
        chosen = np.zeros(len(labels), bool)
        for label in range(classes):
            own = np.flatnonzero(labels == label)
            chosen[rng.permutation(own)[: size // classes]] = True
        yield chosen, ~np.isin(pool.groups, pool.groups[chosen])


def rescaled(points: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Coordinates as they would be if only the chosen photos were known: their mean and scale."""
    centred = points - points[:, chosen].mean(1, keepdims=True)
    square = (centred[:, chosen] ** 2).sum(2).mean(1)
    return centred / np.sqrt(square)[:, None, None]


def among_all(chosen: np.ndarray, *parts: folds_lib.Folds) -> folds_lib.Folds:
    """Turns folds of the chosen photos (N,) into folds of all N. No others are learned from."""
    count, inner_folds = sum(len(folds.test) for folds in parts), parts[0].inner.shape[1]
    test = np.ones((count, len(chosen)), bool)
    test[:, chosen] = np.concatenate([folds.test for folds in parts])
    inner = np.zeros((count, inner_folds, len(chosen)), bool)
    inner[:, :, chosen] = np.concatenate([folds.inner for folds in parts])
    return folds_lib.Folds(test, inner, 1)


def result_of(
    points: np.ndarray,
    pool: Pool,
    settings: ProbeSettings,
    parts: tuple[np.ndarray, np.ndarray],
    labels: np.ndarray,
) -> Draw:
    """Makes a classifier of the first part of the photos, and tests it on the second."""
    chosen, tested = parts
    own = np.flatnonzero(chosen)
    scaled, classes = rescaled(points, chosen), int(labels.max()) + 1
    held_out = folds_lib.leave_one_out(labels[own], pool.groups[own], folds=5, seed=0)
    everything = folds_lib.nothing_held_out(labels[own], pool.groups[own], folds=5, seed=0)
    predictions = nested_cv.nested_cross_validation(
        scaled,
        labels,
        among_all(chosen, held_out, everything),
        settings.l2,
        classes,
        average=settings.average,
    )
    without = scores.out_of_fold(predictions.probabilities[:-1][:, own], held_out)[0]
    answers, truth = predictions.probabilities[-1][tested], pool.photos.labels[tested]
    claimed = float((without.argmax(1) == labels[own]).mean())
    return Draw(**dataclasses.asdict(Score.of(answers, truth)), claimed=claimed)


def plans() -> Iterator[tuple[str, str, str, ProbeSettings, int]]:
    """Yields network, crop, protocol, its settings and the number of photos of each row."""
    for model, crop, size in itertools.product(MODELS, crops.CROPS, SIZES):
        yield model, crop, "average", AVERAGE, size
    for model, crop in itertools.product(MODELS, crops.CROPS):
        yield model, crop, "shuffled", AVERAGE, 24
    # It takes twelve times as long.
    for crop in (crops.NONE, crops.EXPRESSION):
        yield MODELS[0], crop, "choose", CHOOSE, 24


def rows_of(pool: Pool, count: int, cache: Path) -> Iterator[dict[str, Any]]:
    """Yields all results, a row for each of `plans`."""
    for model, crop, protocol, settings, size in plans():
        points = features_of(pool, model, crop, settings, cache)
        results = []
        for number, parts in enumerate(draws(pool, size, count)):
            labels, chosen = pool.photos.labels.copy(), parts[0]
            if protocol == "shuffled":
                labels[chosen] = np.random.default_rng([3, number]).permutation(labels[chosen])
            results.append(result_of(points, pool, settings, parts, labels))
        row = {"model": model, "crop": crop, "protocol": protocol, "photos": size}
        yield row | {"draws": [dataclasses.asdict(result) for result in results]}
        accuracies = [result.accuracy for result in results]
        say(
            f"{model}, {crop}, {protocol}, {size} photos: {np.mean(accuracies):.1%}"
            f" ({min(accuracies):.0%} to {max(accuracies):.0%}),"
            f" claimed {np.mean([result.claimed for result in results]):.1%},"
            f" confidence {np.mean([result.confidence for result in results]):.1%},"
            f" log loss {np.mean([result.log_loss for result in results]):.3f},"
            f" recalls {np.mean([result.recalls for result in results], 0).round(2)}"
        )


def record_rows(
    rows: Iterable[dict[str, Any]], command_line: str, pool: Pool, json_file: str | None
) -> None:
    """Writes a record of rows after each of them, if it has a file."""
    record = {
        **provenance.environment().to_json(),
        "command": command_line,
        "photos": len(pool.groups),
        "groups": int(pool.groups.max()) + 1,
        "rows": [],
    }
    for row in rows:
        record["rows"].append(row)
        if json_file:
            Path(json_file).write_text(json.dumps(record, indent=1) + "\n")


def measure(flags: Any) -> None:
    """Measures all."""
    pool = read_pool(flags.photos.split(","), flags.people, flags.same.split(","))
    record_rows(
        rows_of(pool, flags.draws, Path(flags.cache)),
        # Without the folders of this machine.
        f"python -m experiments.selfie_draws --photos=FOLDER,FOLDER"
        f" --people={flags.people!r} --same={flags.same} --draws={flags.draws}",
        pool,
        flags.json,
    )


def add_pool(parser: Parser) -> None:
    """Adds the flags of photos, of who is on them, and of the record."""
    add = parser.add_argument
    add("--photos", required=True, metavar="FOLDERS", help="folders with commas between them")
    add("--people", default="", metavar="PATTERN", help="finds the person in a photo's name")
    add("--same", default="", metavar="NAMES", help="parts of names of photos of one person")
    add("--json", type=path, metavar="FILE", help="the record, default: none")


def main() -> None:
    """Parses the command line and measures."""
    parser = Parser("experiments.selfie_draws", __doc__)
    add_pool(parser)
    add = parser.add_argument
    add("--draws", type=int, default=20, metavar="N", help="draws of each size, default: 20")
    add("--cache", type=path, default="/tmp/selfie-features", metavar="DIR", help="features")
    flags = parser.parse_args()
    command.start_terminal()
    command.guarded(lambda: measure(flags))


if __name__ == "__main__":
    main()
