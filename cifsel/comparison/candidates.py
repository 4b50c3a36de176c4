"""Candidates of a comparison: runs that differ by their seed alone count as one."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from cifsel import config as config_lib
from cifsel.comparison.runs import Run
from cifsel.errors import UserError, printable
from cifsel.reports.looks import model_name
from cifsel.runtime.terminal import count

# Fields of the config that may differ between the runs of one candidate.
_PER_RUN = ("seed", "name", "recipe", "task", "models", *config_lib.PLACES)


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """Runs that differ by their seed alone.

    Attributes:
      name: of the model, with the details that tell it from other candidates.
      runs: at least one, by ascending seed.
    """

    name: str
    runs: tuple[Run, ...]

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the first seed."""
        return self.runs[0].config

    def right(self, split: str) -> Bool[np.ndarray, "seeds images"]:
        """Tells for each seed and image whether the most probable class is the label."""
        return np.stack([run.right(split) for run in self.runs])

    def best_run(self) -> Run:
        """Returns the seed of highest validation accuracy, the first of equals."""
        return max(self.runs, key=lambda run: run.right("val").mean())


def group_into_candidates(runs: Sequence[Run]) -> tuple[Candidate, ...]:
    """Groups runs by their configuration, without the seed.

    Returns:
      At least two candidates, in the order of the runs.

    Raises:
      UserError: the runs saw different images or classes, one is given twice, or there is only one
        candidate.
    """
    for run in runs[1:]:
        _check_same_data(runs[0], run)
    groups: dict[str, list[Run]] = {}
    for run in runs:
        group = groups.setdefault(json.dumps(_shared_fields(run), sort_keys=True), [])
        for other in group:
            if other.config["seed"] == run.config["seed"]:
                raise UserError(
                    f"{other.folder} and {run.folder} are the same run (config and seed agree):"
                    " give each once"
                )
        group.append(run)
    if len(groups) < 2:
        raise UserError(
            f"only {candidate_names(runs)[0]} is given ({count(len(runs), 'seed')}): give the runs"
            " of another model or configuration to compare it with"
        )
    by_seed = [sorted(group, key=lambda run: run.config["seed"]) for group in groups.values()]
    names = candidate_names([group[0] for group in by_seed])
    return tuple(Candidate(name, tuple(group)) for name, group in zip(names, by_seed, strict=True))


def _check_same_data(first: Run, second: Run) -> None:
    both = f"{first.folder} and {second.folder}"
    if first.class_names != second.class_names:
        only_in_one = sorted(set(first.class_names) ^ set(second.class_names))
        difference = ", ".join(only_in_one[:6]) or "their order"
        raise UserError(
            f"{both} have different classes ({difference}): compare runs on the same ones"
        )
    for split, split_name in (("test", "test"), ("val", "validation")):
        first_ids, second_ids = first.ids[split], second.ids[split]
        if not np.array_equal(first_ids, second_ids):
            common = len(np.intersect1d(first_ids, second_ids))
            raise UserError(
                f"{both} have different {split_name} images ({len(first_ids)} and"
                f" {len(second_ids)}, {common} in common): compare runs with the same split_seed,"
                " val_per_class and test_examples"
            )
        if not np.array_equal(first.labels[split], second.labels[split]):
            raise UserError(f"{both} have different labels for the same {split_name} images")
    fingerprints = first.metrics.fingerprint, second.metrics.fingerprint
    if fingerprints[0] != fingerprints[1]:
        raise UserError(
            f"{both} have different training images (fingerprints {fingerprints[0][:12]} and"
            f" {fingerprints[1][:12]}): compare runs with the same train_fraction, train_examples"
            " and data"
        )


def _shared_fields(run: Run) -> dict[str, Any]:
    """Returns the fields of the config that all runs of a candidate share."""
    return {key: value for key, value in run.config.items() if key not in _PER_RUN}


def candidate_names(runs: Sequence[Run]) -> list[str]:
    """Names runs by their model, with details where several have the same model."""
    names = []
    for run in runs:
        same_model = [other for other in runs if other.metrics.model == run.metrics.model]
        details = printable(_details(run, same_model))
        names.append(model_name(run.metrics.model) + (f" ({details})" if details else ""))
    return names


def _details(run: Run, same_model: Sequence[Run]) -> str:
    """Describes how a run differs from others of its model, as briefly as possible."""
    if len(same_model) == 1:
        return ""
    if len({other.config["recipe"] for other in same_model}) == len(same_model):
        return run.config["recipe"]
    fields = {
        line.partition(":")[0]
        for other in same_model
        for line in config_lib.differences(_shared_fields(run), _shared_fields(other))
    }
    if len(fields) > 2:
        return run.folder.name
    return ", ".join(f"{field} {_value(run.config, field)}" for field in sorted(fields))


def _value(config: Mapping[str, Any], field: str) -> Any:
    """Returns the value of a field, nested with dots, or 'absent'."""
    value: Any = config
    for part in field.split("."):
        value = value.get(part, "absent") if isinstance(value, Mapping) else "absent"
    return value


def differing_fields(candidates: Sequence[Candidate]) -> dict[str, list[Any]]:
    """Lists the config fields in which candidates differ, with the value of each candidate."""
    first = _shared_fields(candidates[0].runs[0])
    fields = {
        line.partition(":")[0]
        for candidate in candidates[1:]
        for line in config_lib.differences(first, _shared_fields(candidate.runs[0]))
    }
    return {
        field: [_value(candidate.config, field) for candidate in candidates]
        for field in sorted(fields)
    }
