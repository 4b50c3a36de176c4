"""What each part of the fine-tuning recipe brings: one change at a time, scored on validation.

    python -m experiments.ablation --workdir=DIR                       # train what is missing
    python -m experiments.ablation --workdir=DIR --table               # the table in Markdown
    python -m experiments.ablation --workdir=DIR --record=FILE.json    # what stands behind it

Both models get the same changes to the same base, so the same budget of tuning. The base is a short
version of the fine-tuning recipe (96 px, 40 % of the training images, 2 epochs), so that a change
takes minutes on two CPU cores. Nothing here looks at test images beyond the one per class that a
run cannot do without.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from cifsel import command, train, usage
from cifsel import config as config_lib
from cifsel.comparison import paired, runs
from cifsel.summaries import Summaries
from cifsel.terminal import say
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
    "128-to-160-px": {"image_size": 160, "train_size": 128},
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


def train_missing(root: Path, seeds: int, changes: Sequence[str]) -> None:
    """Trains every run that has no result yet, all models and changes of a seed before the next."""
    for seed in range(seeds):
        for change in changes:
            for model in MODELS:
                if applies(model, change):
                    folder = folder_of(root, model, change, seed)
                    say(f"== {folder.name}")
                    # Without summaries: hundreds of figures that nobody looks at.
                    train.train_and_evaluate(
                        config_of(model, change, seed), str(folder), Summaries()
                    )


def row(root: Path, model: str, change: str) -> str | None:
    """One line of the table; None without a run of this change and of the base by the same seed."""
    seeds = [
        seed
        for seed in range(100)
        if all(
            (folder_of(root, model, name, seed) / "metrics.json").exists()
            for name in (change, "base")
        )
    ]
    if not seeds:
        return None
    changed, plain = (
        [runs.read(str(folder_of(root, model, name, seed))) for seed in seeds]
        for name in (change, "base")
    )
    ours, base = (np.stack([run.right("val") for run in found]) for found in (changed, plain))
    minutes = np.mean([run.metrics["cost"]["seconds"]["training"] for run in changed]) / 60
    fields = ", ".join(f"`{name}={value}`" for name, value in CHANGES[change].items()) or "base"
    difference = paired.difference(ours, base)
    gain = "" if change == "base" else f"{100 * difference.mean:+.1f}"
    interval = (
        "" if change == "base" else f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}"
    )
    return (
        f"| {fields} | {100 * ours.mean():.1f} % | {gain} | {interval} |"
        f" {', '.join(map(str, seeds))} | {minutes:.1f} |"
    )


def table(root: Path) -> str:
    """All rows, a table per model."""
    lines = []
    for model in MODELS:
        lines += [
            f"| {model} | validation | gain | 95 % interval of the gain | seeds | minutes |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        lines += filter(None, (row(root, model, change) for change in CHANGES))
        lines.append("")
    return "\n".join(lines)


def records(root: Path) -> list[dict[str, Any]]:
    """What is worth keeping of every finished run."""
    found = []
    for path in sorted(root.glob("*/metrics.json")):
        run = json.loads(path.read_text())
        found.append(
            {
                "run": path.parent.name,
                "validation_by_epoch": [e["val_accuracy"] for e in run["training"]["history"]],
                "training_by_epoch": [e["train_accuracy"] for e in run["training"]["history"]],
                "probe_validation": run["probe"] and run["probe"]["chosen"]["val_accuracy"],
                "training_seconds": run["training"]["seconds"],
                "finished": run["finished"],
                "git_commit": run["git_commit"],
            }
        )
    return found


def main() -> None:
    """Trains, or prints the table."""
    made = usage.Parser("experiments.ablation", __doc__)
    add = made.add_argument
    add("--workdir", required=True, type=Path, metavar="DIR", help="where the runs are kept")
    add("--seeds", type=int, default=1, metavar="N", help="of each change, from 0; 1 if not given")
    names = f"changes to train: {', '.join(CHANGES)}; all if not given"
    add("--only", nargs="+", choices=CHANGES, default=list(CHANGES), metavar="CHANGE", help=names)
    add("--table", action="store_true", help="print the table of what is there, train nothing")
    add(
        "--record", type=Path, metavar="FILE", help="write the runs behind the table, train nothing"
    )
    flags = made.parse_args()
    command.start()
    if flags.record:
        flags.record.write_text(json.dumps(records(flags.workdir), indent=1) + "\n")
    if flags.table:
        print(table(flags.workdir))
    if not (flags.table or flags.record):
        command.guarded(lambda: train_missing(flags.workdir, flags.seeds, flags.only))


if __name__ == "__main__":
    main()
