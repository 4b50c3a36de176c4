"""Trains models on a folder of images, by probe and fine-tuning, with several seeds.

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
from cifsel import sweep, task1, workdir
from cifsel.config import Parser, path
from cifsel.runtime import command
from cifsel.workdir import summaries
from configs import folder as folder_config
from experiments import RESULTS

RECORDS = RESULTS / "own_images"
RECIPES = ("probe", "finetune")
_MODELS = ("mobilenet", "efficientnetv2-b0")


def configs(recipe: str, models: Sequence[str], fields: Mapping[str, Any]) -> list[ConfigDict]:
    """Configurations of the models, with changed fields."""
    return [
        config_lib.changed(
            folder_config.get_config(recipe), {**fields, "model": model, "name": model}
        )
        for model in models
    ]


def run(
    by_recipe: Mapping[str, Sequence[ConfigDict]], target: Path, seeds: int, record: str
) -> None:
    """Trains all runs, compares the models if there are two, and copies the metrics."""
    for recipe, given in by_recipe.items():
        for seed in range(seeds):
            for config in given:
                config.seed = config.split_seed = seed
            below = target / recipe / f"seed{seed}"
            if len(given) > 1:
                sweep.run(given, str(below))
            else:
                folder = str(below / f"{given[0].name}-seed{seed}")
                with summaries.open_writer(folder) as writer:
                    task1.train_and_evaluate(given[0], folder, writer)
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
    words = "side in gradient steps, default: image_size"
    add("--train_size", type=int, metavar="PIXELS", help=words)
    for name, choices in (("models", _MODELS), ("recipes", RECIPES)):
        words = f"with commas between them, default: {','.join(choices)}"
        add(f"--{name}", default=",".join(choices), metavar="NAMES", help=words)
    add("--workdir", required=True, type=path, metavar="DIR", help="folder for all runs")
    add("--seeds", type=int, default=3, metavar="N", help="seeds of each model, default: 3")
    add("--skip_unreadable", action="store_true", help="leave out files that are no images")
    add("--record", default="", metavar="NAME", help="name of the records, default: none")
    flags = parser.parse_args()
    if flags.seeds < 1:
        parser.error(f"--seeds is {flags.seeds}, expected 1 or more")
    if flags.dataset == "folder" and not flags.data:
        parser.error("--data is missing, expected a folder of images")
    models, recipes = flags.models.split(","), flags.recipes.split(",")
    for name, given, choices in (("models", models, _MODELS), ("recipes", recipes, RECIPES)):
        if unknown := set(given) - set(choices):
            parser.error(f"--{name} has {', '.join(unknown)}, expected {' or '.join(choices)}")
    names = ("data", "dataset", "data_dir", "image_size", "train_size", "skip_unreadable")
    fields = {name: value for name in names if (value := getattr(flags, name)) is not None}
    by_recipe = {recipe: configs(recipe, models, fields) for recipe in recipes}
    command.start()
    command.guarded(lambda: run(by_recipe, Path(flags.workdir), flags.seeds, flags.record))


if __name__ == "__main__":
    main()
