"""The tables of runs on image folders and sets of tfds: accuracy by model and recipe."""

import itertools
import json
import re
from typing import Any

from cifsel.evaluation.scoring import wilson
from experiments import RESULTS
from experiments.bench import commands
from experiments.tables.markdown import interval, percent, table
from experiments.tables.records import read
from experiments.tables.task1_runs import MODELS, RECIPES, mean

# Names in records -> words.
_SETS = {
    "ants-bees": "ants and bees",
    "ants-bees-256px": "ants and bees",
    "cifar100-all": "all of CIFAR-100",
    "drawn10": "drawn images as a set of tfds",
    "emoji": "emoji",
}
# (set, model, recipe), and the metrics of a run
_Named = tuple[tuple[str, str, str], dict[str, Any]]
_NAME = re.compile(rf"(.+)-({'|'.join(MODELS)})-({'|'.join(RECIPES)})-seed\d+")


def page() -> str:
    """results/own_images.md."""
    times = read("own_data")
    return f"""# Own images

Ants and bees are the 397 photos of PyTorch's tutorial on transfer learning. Its `val` folder is the
test set, scored once by each run. Each seed divides `train` anew into training and validation
images. Intervals are 95 % Wilson intervals of the mean accuracy over the test images. Seconds are
of whole runs. Other jobs ran beside many of them, which makes them long. B0's runs at 256 px came
last: with a probe, cross-validation within `train` has fewer errors there than at 224 px (LOG.md).

{_commands()}

{summary()}

## Time

`python -m experiments.bench.own_data --data=FOLDER`, {times["date"]}, {times["processor"]},
{times["cores"]} cores. The search for copies runs over the images of CIFAR-100. The runs are linear
probes with MobileNet on ants and bees at 224 px, start-up and report included. The first run has an
empty cache folder. [own_data.json](own_data.json) is the record.

{searches(times)}

{chr(10).join(commands.table([commands.Timing(**timing) for timing in times["starts"]]))}

## Every run

{every_run()}
"""


def _commands() -> str:
    """The commands of all records, each once, as a block of code."""
    each = dict.fromkeys(metrics["command"] for metrics in _records())
    return "\n".join(f"    {command}" for command in each)


def summary() -> str:
    """One row per set, model and recipe: means over the seeds."""
    rows = []
    for key, group in itertools.groupby(_named(), lambda pair: pair[0]):
        same = [metrics for _, metrics in group]
        tests = [metrics["test"] for metrics in same]
        accuracy, images = mean(test["accuracy"] for test in tests), tests[0]["examples"]
        right = [round(test["accuracy"] * images) for test in tests]
        seconds = [sum(metrics["cost"]["seconds"].values()) for metrics in same]
        rows.append(
            (
                *_words(key),
                _size(same[0]["config"]),
                percent(accuracy),
                interval(*wilson(accuracy * images, images)),
                f"{' '.join(map(str, right))} of {images}",
                percent(mean(test["balanced_accuracy"] for test in tests)),
                percent(mean(metrics["val"]["accuracy"] for metrics in same)),
                " to ".join(
                    sorted({f"{end:.0f}" for end in (min(seconds), max(seconds))}, key=float)
                ),
            )
        )
    return table(
        (
            "images",
            "model",
            "recipe",
            "size",
            "test accuracy, mean",
            "95 % interval",
            "right, by seed",
            "balanced",
            "validation",
            "seconds",
        ),
        rows,
    )


def searches(times: dict[str, Any]) -> str:
    """One row per number of images: seconds, and copies found."""
    rows = [
        (f"{row['images']:,}", f"{row['seconds']:.2g}", f"{row['pairs']:,}")
        for row in times["searches"]
    ]
    return table(("images", "seconds", "pairs of copies"), rows)


def every_run() -> str:
    """One row per run, with the machine."""
    rows = []
    for path, metrics in zip(_paths(), _records(), strict=True):
        devices = metrics["devices"]
        rows.append(
            (
                f"[{path.stem}](own_images/{path.name})",
                percent(metrics["test"]["accuracy"]),
                f"{metrics['test']['loss']:.3f}",
                " ".join(f"{part} {count}" for part, count in metrics["examples"].items()),
                metrics["finished"][:10],
                metrics["git_commit"][:7],
                f"{devices['processor']}, {devices['cores']} cores",
            )
        )
    header = ("run", "test accuracy", "test loss", "images", "date", "commit", "machine")
    return table(header, rows)


def _paths() -> list[Any]:
    return sorted((RESULTS / "own_images").glob("*.json"))


def _records() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in _paths()]


def _named() -> list[_Named]:
    """Key and metrics of each record, those of one set, model and recipe in a row."""
    named: list[_Named] = []
    for path, metrics in zip(_paths(), _records(), strict=True):
        match = _NAME.fullmatch(path.stem)
        if match is None:
            raise ValueError(f"{path}: expected SET-MODEL-RECIPE-seedN.json")
        named.append(((match[1], match[2], match[3]), metrics))
    titles = list(_SETS.values())

    def order(pair: _Named) -> tuple[int, str, str, int]:
        (name, model, recipe), metrics = pair
        return titles.index(_SETS[name]), model, recipe, metrics["config"]["image_size"]

    return sorted(named, key=order)


def _size(config: dict[str, Any]) -> str:
    """Pixels per side, of gradient steps too where they differ."""
    size = f"{config['image_size']} px"
    if config["method"] == "probe" or config["train_size"] in (0, config["image_size"]):
        return size
    return f"{size}, steps at {config['train_size']} px"


def _words(key: tuple[str, str, str]) -> tuple[str, str, str]:
    name, model, recipe = key
    return _SETS[name], MODELS[model], RECIPES[recipe]
