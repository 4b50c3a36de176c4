"""Finished runs as they lie on disk, and which of them can be compared."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from cifsel import config as config_lib
from cifsel import workdir
from cifsel.comparison import checks
from cifsel.errors import UserError, one_line, printable
from cifsel.runtime import remote
from cifsel.runtime.paths import exists

SPLITS = ("val", "test")
# Logits that make no probabilities.
_MOST = 1e9
# What may differ between the runs of one candidate: the seed, and what a run is called.
_PER_RUN = ("seed", "name", "recipe", "task", "models", *config_lib.PLACES)


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Attributes:
      folder: its workdir.
      metrics: what its metrics.json says.
      class_names: K names.
      logits: (N, K) float32, of 'val' and 'test'.
      labels: (N,) int32, the same.
      ids: (N,) int32, the same.
    """

    folder: epath.Path
    metrics: dict[str, Any]
    class_names: tuple[str, ...]
    logits: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    ids: Mapping[str, np.ndarray]

    @property
    def config(self) -> dict[str, Any]:
        """The configuration it ran with."""
        return self.metrics["config"]

    def right(self, split: str) -> np.ndarray:
        """(N,) bool: whether the most probable class is the right one."""
        return self.logits[split].argmax(1) == self.labels[split]


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """Runs that differ by their seed alone, as one entry of a comparison.

    Attributes:
      name: of the model, with what else is needed to tell it from the others.
      runs: at least one, by ascending seed.
    """

    name: str
    runs: tuple[Run, ...]

    @property
    def config(self) -> dict[str, Any]:
        """The configuration, of the first seed."""
        return self.runs[0].config

    def right(self, split: str) -> np.ndarray:
        """(S, N) bool: whether each seed is right on each image."""
        return np.stack([run.right(split) for run in self.runs])

    def best_run(self) -> Run:
        """The seed of highest validation accuracy, the first of equals."""
        return max(self.runs, key=lambda run: run.right("val").mean())


def read(folder: str) -> Run:
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
    metrics = workdir.read_json(path / workdir.METRICS)
    checks.check(metrics, path / workdir.METRICS)
    arrays = _read_predictions(path / workdir.PREDICTIONS)
    run = Run(
        folder=path,
        metrics=metrics,
        class_names=tuple(arrays["class_names"].tolist()),
        logits={split: arrays[f"{split}_logits"] for split in SPLITS},
        labels={split: arrays[f"{split}_labels"] for split in SPLITS},
        ids={split: arrays[f"{split}_ids"] for split in SPLITS},
    )
    for split in SPLITS:
        found, said = float(run.right(split).mean()), metrics[split]["accuracy"]
        if abs(found - said) > 1e-9:
            raise UserError(
                f"{path}: {workdir.PREDICTIONS} has {found:.4f} of the {split} images right,"
                f" {workdir.METRICS} says {said:.4f}: the two are not of the same run"
            )
    return run


def _read_predictions(path: epath.Path) -> dict[str, np.ndarray]:
    kinds = {"logits": ("f", 2), "labels": ("i", 1), "ids": ("i", 1)}
    try:
        arrays = workdir.read_npz(path)
        if (names := arrays["class_names"]).dtype.kind != "U" or names.ndim != 1:
            raise ValueError(f"class_names is {names.dtype} {names.shape}")
        for split in SPLITS:
            for name, (kind, axes) in kinds.items():
                array = arrays[f"{split}_{name}"]
                if array.dtype.kind != kind or array.ndim != axes:
                    raise ValueError(f"{split}_{name} is {array.dtype} {array.shape}")
                if len(array) != len(arrays[f"{split}_labels"]) or not len(array):
                    raise ValueError(f"{split}_{name} has {len(array)} rows")
            if arrays[f"{split}_logits"].shape[1] != len(names) or not len(names):
                raise ValueError(f"{len(names)} class names do not fit the logits")
            if not (np.abs(arrays[f"{split}_logits"]) < _MOST).all():
                raise ValueError(f"logits are not finite, or {_MOST:g} and more")
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} is missing or damaged ({one_line(error)}): delete"
            f" {path.parent / workdir.METRICS} and give the run's command again"
        ) from None
    return arrays


def candidates(runs: Sequence[Run]) -> tuple[Candidate, ...]:
    """Groups runs that can be compared by what distinguishes them beside the seed.

    Returns:
      At least two candidates, in the order of the runs.

    Raises:
      UserError: the runs saw different images or classes, one is given twice, or all are of one
        and the same model.
    """
    for run in runs[1:]:
        _check_same_data(runs[0], run)
    groups: dict[str, list[Run]] = {}
    for run in runs:
        group = groups.setdefault(json.dumps(_identity(run), sort_keys=True), [])
        for other in group:
            if other.config["seed"] == run.config["seed"]:
                raise UserError(
                    f"{other.folder} and {run.folder} are the same run (config and seed agree):"
                    " give each once"
                )
        group.append(run)
    if len(groups) < 2:
        raise UserError(
            f"only {names(runs)[0]} is given ({len(runs)} seeds): give the runs of another model"
            " or configuration to compare it with"
        )
    ordered = [sorted(group, key=lambda run: run.config["seed"]) for group in groups.values()]
    called = names([group[0] for group in ordered])
    return tuple(Candidate(name, tuple(group)) for name, group in zip(called, ordered, strict=True))


def _check_same_data(one: Run, other: Run) -> None:
    both = f"{one.folder} and {other.folder}"
    if one.class_names != other.class_names:
        differing = sorted(set(one.class_names) ^ set(other.class_names))
        found = ", ".join(differing[:6]) or "their order"
        raise UserError(f"{both} have different classes ({found}): compare runs on the same ones")
    for split, name in (("test", "test"), ("val", "validation")):
        if not np.array_equal(one.ids[split], other.ids[split]):
            raise UserError(
                f"{both} have different {name} images ({len(one.ids[split])} and"
                f" {len(other.ids[split])}, {len(np.intersect1d(one.ids[split], other.ids[split]))}"
                " in common): compare runs with the same split_seed, val_per_class and"
                " test_examples"
            )
        if not np.array_equal(one.labels[split], other.labels[split]):
            raise UserError(f"{both} have different labels for the same {name} images")
    if one.metrics["fingerprint"] != other.metrics["fingerprint"]:
        raise UserError(
            f"{both} have different training images (fingerprints"
            f" {one.metrics['fingerprint'][:12]} and {other.metrics['fingerprint'][:12]}): compare"
            " runs with the same train_fraction, train_examples and data"
        )


def _identity(run: Run) -> dict[str, Any]:
    return {key: value for key, value in run.config.items() if key not in _PER_RUN}


def names(runs: Sequence[Run]) -> list[str]:
    """What to call each of several runs: the model, and what tells equal models apart."""
    result = []
    for run in runs:
        twins = [other for other in runs if other.metrics["model"] == run.metrics["model"]]
        detail = printable(_detail(run, twins))
        result.append(model_name(run.metrics["model"]) + (f" ({detail})" if detail else ""))
    return result


def _detail(run: Run, twins: Sequence[Run]) -> str:
    """What sets a run apart from others of the same model: few words if they suffice."""
    if len(twins) == 1:
        return ""
    if len({twin.config["recipe"] for twin in twins}) == len(twins):
        return run.config["recipe"]
    apart = {
        line.partition(":")[0]
        for twin in twins
        for line in config_lib.differences(_identity(run), _identity(twin))
    }
    if len(apart) > 2:
        return run.folder.name
    return ", ".join(f"{field} {_value(run.config, field)}" for field in sorted(apart))


def _value(config: Mapping[str, Any], field: str) -> Any:
    value: Any = config
    for part in field.split("."):
        value = value.get(part, "absent") if isinstance(value, Mapping) else "absent"
    return value


def model_name(model: str) -> str:
    """A model as people write it: 'MobileNet', 'EfficientNetV2-B0'."""
    family, _, variant = model.partition("-")
    written = {"mobilenet": "MobileNet", "efficientnetv2": "EfficientNetV2"}.get(family, family)
    shown = variant if variant == "mini" else variant.upper()
    return f"{written}-{shown}" if variant else written


def differing_fields(found: Sequence[Candidate]) -> dict[str, list[Any]]:
    """Fields of the configuration in which the candidates differ, with the value of each."""
    fields = {
        line.partition(":")[0]
        for candidate in found[1:]
        for line in config_lib.differences(
            _identity(found[0].runs[0]), _identity(candidate.runs[0])
        )
    }
    return {field: [_value(c.config, field) for c in found] for field in sorted(fields)}
