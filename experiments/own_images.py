"""Trains both models on a folder of images, by probe and fine-tuning, with several seeds.

    python -m experiments.own_images --data=FOLDER --workdir=/tmp/ants --seeds=3
    python -m experiments.own_images --dataset=tfds:NAME --recipes=probe --workdir=/tmp/set

Each seed has its own division into training and validation images. Test images stay the same. The
runs and a comparison of each recipe are in WORKDIR/probe and WORKDIR/finetune. An interrupted
command continues when it is given again. --record=NAME copies the metrics of each run to
results/own_images/NAME-MODEL-RECIPE-seedK.json.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from cifsel import config as config_lib
from cifsel import sweep, workdir
from cifsel.config import Parser, path
from cifsel.runtime import command
from configs import folder
from experiments import RESULTS

RECORDS = RESULTS / "own_images"
RECIPES = ("probe", "finetune")
_MODELS = ("mobilenet", "efficientnetv2-b0")


def configs(recipe: str, fields: Mapping[str, Any]) -> list[ConfigDict]:
    """Configurations of both models, with changed fields."""
    return [
        config_lib.changed(folder.get_config(recipe), {**fields, "model": model, "name": model})
        for model in _MODELS
    ]


def run(
    fields: Mapping[str, Any], target: Path, recipes: Sequence[str], seeds: int, record: str
) -> None:
    """Trains and compares all runs, and copies their metrics."""
    for recipe in recipes:
        for seed in range(seeds):
            given = configs(recipe, fields)
            for config in given:
                config.seed = config.split_seed = seed
            below = target / recipe / f"seed{seed}"
            sweep.run(given, str(below))
            for config in given:
                metrics = below / f"{config.name}-seed{seed}" / workdir.METRICS
                if record:
                    RECORDS.mkdir(exist_ok=True)
                    name = f"{record}-{config.name}-{recipe}-seed{seed}.json"
                    shutil.copyfile(metrics, RECORDS / name)


def main() -> None:
    """Parses the command line and runs all."""
    parser = Parser("experiments.own_images", __doc__)
    add = parser.add_argument
    add("--data", type=path, metavar="FOLDER", help="images, as configs/folder.py")
    add("--dataset", default="folder", metavar="NAME", help="'tfds:NAME' or 'cifar100:all'")
    add("--data_dir", type=path, metavar="DIR", help="folder of tfds data")
    add("--image_size", type=int, metavar="PIXELS", help="side in pixels, default: 224")
    words = f"with commas between them, default: {','.join(RECIPES)}"
    add("--recipes", default=",".join(RECIPES), metavar="NAMES", help=words)
    add("--workdir", required=True, type=path, metavar="DIR", help="folder for all runs")
    add("--seeds", type=int, default=3, metavar="N", help="seeds of each model, default: 3")
    add("--skip_unreadable", action="store_true", help="leave out files that are no images")
    add("--record", default="", metavar="NAME", help="name of the records, default: none")
    flags = parser.parse_args()
    if flags.seeds < 1:
        parser.error(f"--seeds is {flags.seeds}, expected 1 or more")
    if flags.dataset == "folder" and not flags.data:
        parser.error("--data is missing, expected a folder of images")
    recipes = flags.recipes.split(",")
    if unknown := set(recipes) - set(RECIPES):
        parser.error(f"--recipes has {', '.join(unknown)}, expected {' or '.join(RECIPES)}")
    names = ("data", "dataset", "data_dir", "image_size", "skip_unreadable")
    fields = {name: value for name in names if (value := getattr(flags, name)) is not None}
    command.start()
    command.guarded(lambda: run(fields, Path(flags.workdir), recipes, flags.seeds, flags.record))


if __name__ == "__main__":
    main()
