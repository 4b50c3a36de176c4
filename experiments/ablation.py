"""Changes one thing at a time in a short fine-tuning and scores each change on validation images.

    python -m experiments.ablation --workdir=DIR                          # train what is missing
    python -m experiments.ablation --workdir=DIR --record=FILE.json       # add finished runs
    python -m experiments.ablation --record=FILE.json                     # print the table

Both models get the same changes to the same base, a short version of the fine-tuning recipe: 96 px,
40 % of the training images, 2 epochs. A run takes minutes on two CPU cores. No test image has a
say. The record keeps which validation images each run classified correctly, so that the table
does not need the runs.
"""

import base64
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from cifsel import config as config_lib
from cifsel import task1
from cifsel.comparison import paired
from cifsel.comparison.runs import read_run
from cifsel.config import Parser, local_path
from cifsel.errors import UserError
from cifsel.runtime import command, terminal
from cifsel.runtime.terminal import say
from cifsel.workdir.summaries import Summaries
from configs import effnet, mobilenet

BASE: dict[str, Any] = {
    "image_size": 96,
    "train_fraction": 0.4,
    "test_examples": 50,  # one per class, the least that a run accepts
    "epochs": 2,
    # The recipes have other values since, which they took from this ablation.
    "learning_rate": 2e-4,
    "frozen_bn": True,
    "train_size": 0,
    "augment.one_random": 0.0,
}
SEEDS = range(3)  # seeds that a change may be trained with
MODELS = {"efficientnetv2-b0": effnet, "mobilenet": mobilenet}
# Name of the change -> fields that it sets, in the order of the table.
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
    """Workdir of one run."""
    return root / f"{model}-{change}-seed{seed}"


def applies(model: str, change: str) -> bool:
    """Whether a model can have a change. MobileNet has no residual branches for drop path."""
    return model != "mobilenet" or change != "drop-path-.1"


def train_missing(root: Path, changes: Sequence[str], seeds: Sequence[int]) -> None:
    """Trains every run without a result. Finishes a seed before it starts the next."""
    for seed in seeds:
        for change in changes:
            for model in MODELS:
                if applies(model, change):
                    folder = folder_of(root, model, change, seed)
                    say(f"== {folder.name}")
                    # Without summaries, which would draw hundreds of figures.
                    task1.train_and_evaluate(
                        config_of(model, change, seed), str(folder), Summaries()
                    )


@dataclasses.dataclass(frozen=True)
class Recorded:
    """One run of a record.

    Attributes:
      run: name of its workdir.
      validation_by_epoch: accuracy after each epoch.
      training_by_epoch: accuracy during each epoch.
      probe_validation: accuracy of the probe that it starts from, None with a random head.
      training_seconds: of gradient steps, without the probe.
      finished: time in ISO format.
      git_commit: of the code.
      validation_images: number of them, 0 where `right` is empty.
      right: base64 of packed bits, a bit per validation image, 1 if the run classified it
        correctly. Empty for the runs of 2026-11-22 and 23.
    """

    run: str
    validation_by_epoch: list[float]
    training_by_epoch: list[float]
    probe_validation: float | None
    training_seconds: float
    finished: str
    git_commit: str | None
    validation_images: int = 0
    right: str = ""

    @property
    def accuracy(self) -> float:
        """Validation accuracy of the best epoch, which is the one that the run keeps."""
        return max(self.validation_by_epoch)

    @property
    def right_images(self) -> np.ndarray:
        """(N,) bool, whether the run classified each validation image correctly."""
        bits = np.frombuffer(base64.b64decode(self.right), np.uint8)
        return np.unpackbits(bits, count=self.validation_images).astype(bool)


Record = dict[str, Recorded]  # by the name of the run


def record(path: Path, root: Path) -> None:
    """Adds every finished run in `root` to the file. Replaces runs of the same name."""
    by_name = recorded(path) if path.exists() else {}
    for folder in sorted(file.parent for file in root.glob("*/metrics.json")):
        run = read_run(str(folder))
        training, probe, right = run.metrics.training, run.metrics.probe, run.right("val")
        by_name[folder.name] = Recorded(
            run=folder.name,
            validation_by_epoch=[epoch.val_accuracy for epoch in training.history],
            training_by_epoch=[epoch.train_accuracy for epoch in training.history],
            probe_validation=probe["chosen"]["val_accuracy"] if probe else None,
            training_seconds=training.seconds,
            finished=run.metrics.provenance.finished,
            git_commit=run.metrics.provenance.git_commit,
            validation_images=len(right),
            right=base64.b64encode(np.packbits(right).tobytes()).decode(),
        )
    entries = [dataclasses.asdict(by_name[name]) for name in sorted(by_name)]
    path.write_text(json.dumps(entries, indent=1) + "\n")


def recorded(path: Path) -> Record:
    """Reads a record.

    Raises:
      UserError: there is no such file.
    """
    if not path.exists():
        raise UserError(
            f"{path} is not there: give --workdir as well, to make a record of its runs"
        )
    return {entry["run"]: Recorded(**entry) for entry in json.loads(path.read_text())}


def gain_over(base: Sequence[Recorded], changed: Sequence[Recorded]) -> tuple[str, str]:
    """Gain of a change in points, and its 95 % interval, as text.

    Args:
      base: runs of the base, one per seed.
      changed: runs of the change by the same seeds.

    Returns:
      The interval is paired on the images and empty where a record has no images.
    """
    if not all(run.right for run in (*base, *changed)):
        gain = np.mean([run.accuracy for run in changed]) - np.mean([run.accuracy for run in base])
        return f"{100 * gain:+.1f}", ""
    ours, theirs = (np.stack([run.right_images for run in rows]) for rows in (changed, base))
    difference = paired.difference(ours, theirs)
    low, high = 100 * difference.low, 100 * difference.high
    return f"{100 * difference.mean:+.1f}", f"{low:+.1f} to {high:+.1f}"


def row(by_name: Record, model: str, change: str) -> str | None:
    """One row of the table, or None if no seed has both a run of the change and of the base."""

    def run(name: str, seed: int) -> Recorded | None:
        return by_name.get(folder_of(Path(), model, name, seed).name)

    pairs = {seed: (run("base", seed), run(change, seed)) for seed in SEEDS}
    both = {seed: (base, run) for seed, (base, run) in pairs.items() if base and run}
    if not both:
        return None
    base, changed = zip(*both.values(), strict=True)
    fields = ", ".join(f"`{name}={value}`" for name, value in CHANGES[change].items()) or "base"
    gain, interval = ("", "") if change == "base" else gain_over(base, changed)
    cells = [
        fields,
        f"{100 * np.mean([run.accuracy for run in changed]):.1f} %",
        gain,
        interval,
        ", ".join(map(str, both)),
        f"{np.mean([run.training_seconds for run in changed]) / 60:.1f}",
        ", ".join(sorted({run.finished[:10] for run in changed})),
    ]
    return f"| {' | '.join(cells)} |"


def table(by_name: Record, model: str) -> str:
    """The table of a model in Markdown."""
    lines = [
        f"| {model}: change | validation | gain, points | 95 % interval | seeds | minutes | date |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += filter(None, (row(by_name, model, change) for change in CHANGES))
    return "\n".join(lines)


def print_tables(path: Path) -> None:
    """Prints the tables of both models."""
    by_name = recorded(path)
    for model in MODELS:
        terminal.answer(table(by_name, model) + "\n")


def main() -> None:
    """Trains, records, or prints the table."""
    parser = Parser("experiments.ablation", __doc__)
    add = parser.add_argument
    add("--workdir", type=local_path, metavar="DIR", help="folder of the runs")
    add(
        "--record",
        type=local_path,
        metavar="FILE",
        help="add runs, or print the table without --workdir",
    )
    names = f"changes to train: {', '.join(CHANGES)}, default: all"
    add("--only", nargs="+", choices=CHANGES, default=list(CHANGES), metavar="CHANGE", help=names)
    names = "seeds of each change, default: 0"
    add("--seeds", nargs="+", type=int, default=[0], choices=SEEDS, metavar="SEED", help=names)
    flags = parser.parse_args()
    if not (flags.workdir or flags.record):
        parser.error("give --workdir, --record or both")
    command.start()
    if flags.workdir and flags.record:
        command.guarded(lambda: record(flags.record, flags.workdir))
    elif flags.record:
        command.guarded(lambda: print_tables(flags.record))
    else:
        command.guarded(lambda: train_missing(flags.workdir, flags.only, flags.seeds))


if __name__ == "__main__":
    main()
