"""Finished runs, read from their workdirs and checked."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import Bool, Float, Int

from cifsel import config as config_lib
from cifsel import workdir
from cifsel.comparison import checks
from cifsel.errors import UserError, one_line
from cifsel.evaluation.split_score import SplitScore
from cifsel.runtime import regular, remote
from cifsel.runtime.paths import exists
from cifsel.training.results import RunMetrics
from cifsel.workdir import identity, model_meta, predictions
from cifsel.workdir.checkpoints import FOLDER, Checkpoints
from cifsel.workdir.predictions import SPLITS


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Attributes:
      folder: its workdir.
      metrics: the content of its metrics.json.
      class_names: K names.
      logits: a row per image, by split ('val' and 'test').
      labels: of the same images, by split.
      ids: numbers of the same images in the data set, by split.
    """

    folder: epath.Path
    metrics: RunMetrics
    class_names: tuple[str, ...]
    logits: Mapping[str, Float[np.ndarray, "_ classes"]]
    labels: Mapping[str, Int[np.ndarray, " _"]]
    ids: Mapping[str, Int[np.ndarray, " _"]]

    @property
    def config(self) -> dict[str, Any]:
        """The configuration, JSON-ready. 'auto' is replaced by the recipe that was chosen."""
        config = self.metrics.config
        if config["method"] != "auto":
            return config
        return config | {"method": self.metrics.recipe, "recipe": self.metrics.recipe}

    def score(self, split: str) -> SplitScore:
        """Returns the scores that metrics.json has of 'val' or 'test'."""
        return self.metrics.val if split == "val" else self.metrics.test

    def predictions(self, split: str) -> Int[np.ndarray, " images"]:
        """Returns the most probable class of each image."""
        return self.logits[split].argmax(1)

    def right(self, split: str) -> Bool[np.ndarray, " images"]:
        """Tells for each image whether the most probable class is the label."""
        return self.predictions(split) == self.labels[split]


def read_run(folder: str) -> Run:
    """Reads a finished run.

    Args:
      folder: its workdir, local or gs://.

    Raises:
      UserError: there is no finished run, or its files do not belong together.
    """
    remote.reach(folder)
    path = remote.place(folder)
    if not exists(path / workdir.METRICS):
        if exists(path / workdir.CONFIG):
            raise UserError(f"{path} is unfinished (no {workdir.METRICS}): give its command again")
        raise UserError(f"{path} is no run (no {workdir.METRICS}): give the --workdir of one")
    content = workdir.read_json(path / workdir.METRICS)
    metrics = checks.parse_metrics(content, path / workdir.METRICS)
    _check_owner(path)
    arrays = predictions.read(path / workdir.PREDICTIONS)
    run = Run(
        folder=path,
        metrics=metrics,
        class_names=tuple(arrays["class_names"].tolist()),
        logits={split: arrays[f"{split}_logits"] for split in SPLITS},
        labels={split: arrays[f"{split}_labels"] for split in SPLITS},
        ids={split: arrays[f"{split}_ids"] for split in SPLITS},
    )
    for split in SPLITS:
        computed, recorded = float(run.right(split).mean()), run.score(split).accuracy
        if abs(computed - recorded) > 1e-9:
            raise UserError(
                f"{path}: {workdir.PREDICTIONS} has {computed:.4f} of the {split} images right,"
                f" {workdir.METRICS} says {recorded:.4f}: the two are not of the same run"
            )
    return run


def digest(folder: epath.Path) -> str:
    """A digest of the results of a run, which does not depend on the name of its folder.

    Raises:
      UserError: metrics.json or predictions.npz cannot be read.
    """
    remote.reach(folder)
    try:
        contents = [
            regular.content(folder / name, workdir.MAX_ARRAY_BYTES)
            for name in (workdir.METRICS, workdir.PREDICTIONS)
        ]
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder} is no finished run ({one_line(error)}): give its command again"
        ) from error
    return hashlib.sha256(b"".join(contents)).hexdigest()


def _check_owner(path: epath.Path) -> None:
    """Raises UserError if the config or the checkpoint in a workdir is of another run."""
    configs = workdir.recorded_configs(path)
    metrics = configs.pop(workdir.METRICS)
    for name, config in configs.items():
        if fields := config_lib.differences(config, metrics):
            raise UserError(
                f"{path / name} and {path / workdir.METRICS} are of different runs"
                f" ({'; '.join(fields)}): put back the files of one run"
            )
    if not exists(path / FOLDER):
        return
    with Checkpoints(path, read_only=True) as checkpoints:
        meta = model_meta.parse(checkpoints.meta(), str(path / FOLDER))
    identity.check_folder(path, meta, str(path / FOLDER))
