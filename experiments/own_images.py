"""Trains both models on a folder of images, by probe and fine-tuning, with several seeds.

    python -m experiments.own_images --data=FOLDER --workdir=/tmp/ants --seeds=3

Each seed has its own division into training and validation images. Test images stay the same. The
runs and a comparison of each recipe are in WORKDIR/probe and WORKDIR/finetune. An interrupted
command continues when it is given again. --record=NAME copies the metrics of each run to
results/own_images/NAME-MODEL-RECIPE-seedK.json.
"""

import shutil
from pathlib import Path

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


def configs(recipe: str, data: str, skip_unreadable: bool) -> list[ConfigDict]:
    """Configurations of both models."""
    fields = {"data": data, "skip_unreadable": skip_unreadable}
    return [
        config_lib.changed(folder.get_config(recipe), fields | {"model": model, "name": model})
        for model in _MODELS
    ]


def run(data: str, target: Path, seeds: int, skip_unreadable: bool, record: str) -> None:
    """Trains and compares all runs, and copies their metrics."""
    for recipe in RECIPES:
        for seed in range(seeds):
            given = configs(recipe, data, skip_unreadable)
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
    add("--data", required=True, type=path, metavar="FOLDER", help="images, as configs/folder.py")
    add("--workdir", required=True, type=path, metavar="DIR", help="folder for all runs")
    add("--seeds", type=int, default=3, metavar="N", help="seeds of each model, default: 3")
    add("--skip_unreadable", action="store_true", help="leave out files that are no images")
    add("--record", default="", metavar="NAME", help="name of the records, default: none")
    flags = parser.parse_args()
    if flags.seeds < 1:
        parser.error(f"--seeds is {flags.seeds}, expected 1 or more")
    command.start()
    command.guarded(
        lambda: run(
            flags.data, Path(flags.workdir), flags.seeds, flags.skip_unreadable, flags.record
        )
    )


if __name__ == "__main__":
    main()
