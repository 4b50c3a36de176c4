"""What each part of the fine-tuning recipe brings: one change at a time, scored on validation.

    python -m experiments.ablation --workdir=DIR                          # train what is missing
    python -m experiments.ablation --workdir=DIR --record=FILE.json       # add what is finished
    python -m experiments.ablation --record=FILE.json                     # the table in Markdown

FILE.json has of every run which validation images it had right, and so outlives the runs.

Both models get the same changes to the same base, a short version of the fine-tuning recipe (96 px,
40 % of the training images, 2 epochs), which takes minutes on two CPU cores. Nothing here looks at
test images beyond the one per class that a run cannot do without.
"""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from cifsel import config as config_lib
from cifsel import train
from cifsel.comparison import paired, runs
from cifsel.config import arguments
from cifsel.errors import UserError
from cifsel.runtime import command
from cifsel.terminal import say
from cifsel.workdir.summaries import Summaries
from configs import effnet, mobilenet

BASE: dict[str, Any] = {
    "image_size": 96,
    "train_fraction": 0.4,
    "test_examples": 50,
    "epochs": 2,
    # What the recipes took from this table since.
    "learning_rate": 2e-4,
    "frozen_bn": True,
    "train_size": 0,
    "augment.one_random": 0.0,
}
SEEDS = range(3)  # Every change may have these, in the table too.
MODELS = {"efficientnetv2-b0": effnet, "mobilenet": mobilenet}
# Name of the change -> fields it sets; in the order of the table.
CHANGES: dict[str, dict[str, Any]] = {
    "base": {},
    "rate-5e-5": {"learning_rate": 5e-5},
    "rate-1e-4": {"learning_rate": 1e-4},
    "rate-4e-4": {"learning_rate": 4e-4},
    "rate-8e-4": {"learning_rate": 8e-4},
    "trained-bn": {"frozen_bn": False},
    "random-head": {"init_head": "random"},
    "layer-decay-.9": {"layer_decay": 0.9},
    "layer-decay-.75": {"layer_decay": 0.75},
    "last-10-layers": {"trainable_layers": 10},
    "sgd": {"optimizer": "sgd", "learning_rate": 0.01, "weight_decay": 1e-4},
    "no-smoothing": {"label_smoothing": 0.0},
    "ema-.99": {"ema_decay": 0.99},
    "mixup-.2": {"augment.mixup": 0.2},
    "cutmix-1": {"augment.cutmix": 1.0},
    "erase-.25": {"augment.erase": 0.25},
    "one-random-.5": {"augment.one_random": 0.5},
    "no-augment": {"augment.flip": False, "augment.shift": 0},
    "dropout-.2": {"dropout": 0.2},
    "drop-path-.1": {"drop_path": 0.1},
    "64-px": {"image_size": 64},
    "96-to-128-px": {"image_size": 128, "train_size": 96},
    "128-px": {"image_size": 128},
    "160-px": {"image_size": 160},
    "224-px": {"image_size": 224},
    "no-mirror": {"mirror": False},
}


def config_of(model: str, change: str, seed: int) -> ConfigDict:
    """The configuration of one run."""
    return config_lib.changed(MODELS[model].get_config(), {**BASE, **CHANGES[change], "seed": seed})


def folder_of(root: Path, model: str, change: str, seed: int) -> Path:
    """Where that run is kept."""
    return root / f"{model}-{change}-seed{seed}"


def applies(model: str, change: str) -> bool:
    """MobileNet has no residual branches to drop."""
    return model != "mobilenet" or change != "drop-path-.1"


def train_missing(root: Path, changes: Sequence[str], seeds: Sequence[int]) -> None:
    """Trains every run that has no result yet, all models and changes of a seed before the next."""
    for seed in seeds:
        for change in changes:
            for model in MODELS:
                if applies(model, change):
                    folder = folder_of(root, model, change, seed)
                    say(f"== {folder.name}")
                    # Without summaries: hundreds of figures that nobody looks at.
                    train.train_and_evaluate(
                        config_of(model, change, seed), str(folder), Summaries()
                    )


def record(path: Path, root: Path) -> None:
    """Adds every finished run in `root` to the file, in place of an older one of the same name."""
    found = recorded(path) if path.exists() else {}
    for folder in sorted(file.parent for file in root.glob("*/metrics.json")):
        run = runs.read(str(folder))
        training, probe, right = run.metrics["training"], run.metrics["probe"], run.right("val")
        found[folder.name] = {
            "run": folder.name,
            "validation_by_epoch": [epoch["val_accuracy"] for epoch in training["history"]],
            "training_by_epoch": [epoch["train_accuracy"] for epoch in training["history"]],
            "probe_validation": probe and probe["chosen"]["val_accuracy"],
            "training_seconds": training["seconds"],
            "finished": run.metrics["finished"],
            "git_commit": run.metrics["git_commit"],
            "validation_images": len(right),
            "right": base64.b64encode(np.packbits(right).tobytes()).decode(),
        }
    path.write_text(json.dumps([found[name] for name in sorted(found)], indent=1) + "\n")


def recorded(path: Path) -> dict[str, dict[str, Any]]:
    """The runs of a record, by name.

    Raises:
      UserError: there is no such file.
    """
    if not path.exists():
        raise UserError(
            f"{path} is not there: give --workdir as well, to make a record of its runs"
        )
    return {run["run"]: run for run in json.loads(path.read_text())}


def right_of(run: dict[str, Any]) -> np.ndarray:
    """(N,) bool: which validation images a recorded run had right."""
    bits = np.frombuffer(base64.b64decode(run["right"]), np.uint8)
    return np.unpackbits(bits, count=run["validation_images"]).astype(bool)


def row(found: dict[str, dict[str, Any]], model: str, change: str) -> str | None:
    """One line of the table; None without a run of this change and of the base by the same seed."""

    def run(name: str, seed: int) -> dict[str, Any]:
        return found.get(folder_of(Path(), model, name, seed).name, {})

    # The first runs were recorded without their images.
    seeds = [
        seed for seed in SEEDS if "right" in run(change, seed) and "right" in run("base", seed)
    ]
    if not seeds:
        return None
    ours, theirs = (
        np.stack([right_of(run(name, seed)) for seed in seeds]) for name in (change, "base")
    )
    fields = ", ".join(f"`{name}={value}`" for name, value in CHANGES[change].items()) or "base"
    gain, interval = "", ""
    if change != "base":
        difference = paired.difference(ours, theirs)
        gain = f"{100 * difference.mean:+.1f}"
        interval = f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}"
    minutes = np.mean([run(change, seed)["training_seconds"] for seed in seeds]) / 60
    return (
        f"| {fields} | {100 * ours.mean():.1f} % | {gain} | {interval} |"
        f" {', '.join(map(str, seeds))} | {minutes:.1f} |"
    )


def table(found: dict[str, dict[str, Any]]) -> str:
    """All rows, a table per model."""
    lines = []
    for model in MODELS:
        lines += [
            f"| {model}: change | validation | gain, points | 95 % interval | seeds | minutes |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        lines += filter(None, (row(found, model, change) for change in CHANGES))
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Trains, records, or prints the table."""
    made = arguments.Parser("experiments.ablation", __doc__)
    add = made.add_argument
    add("--workdir", type=Path, metavar="DIR", help="where the runs are kept")
    add("--record", type=Path, metavar="FILE", help="add the finished runs; alone: print the table")
    names = f"changes to train: {', '.join(CHANGES)}; all if not given"
    add("--only", nargs="+", choices=CHANGES, default=list(CHANGES), metavar="CHANGE", help=names)
    names = "to train each change with; 0 if not given"
    add("--seeds", nargs="+", type=int, default=[0], choices=SEEDS, metavar="SEED", help=names)
    flags = made.parse_args()
    if not (flags.workdir or flags.record):
        made.error("give --workdir, --record or both")
    command.start()
    if flags.workdir and flags.record:
        command.guarded(lambda: record(flags.record, flags.workdir))
    elif flags.record:
        command.guarded(lambda: print(table(recorded(flags.record))))
    else:
        command.guarded(lambda: train_missing(flags.workdir, flags.only, flags.seeds))


if __name__ == "__main__":
    main()
