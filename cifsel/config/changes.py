"""Changing configs, comparing them, and keeping them as JSON."""

import copy
import json
import os
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from cifsel.config.schema import Place, flatten
from cifsel.config.selfie import SELFIE
from cifsel.config.task1 import TASK1
from cifsel.config.validation import schema_of, unknown_field, validate, wrong_value
from cifsel.runtime.paths import expanded

_FIELDS = SELFIE.fields | TASK1.fields
# Fields that say where things are, how often to save or what is shown, not what is computed.
PLACES = tuple(name for name, field in _FIELDS.items() if not field.changes_result)
# Fields that change the report of a run, not its results.
SHOWN = tuple(name for name, field in _FIELDS.items() if field.changes_report)
_PATHS = {name for name, field in _FIELDS.items() if isinstance(field, Place)}


def expand_paths(config: ConfigDict) -> None:
    """Puts the home folder in the place of '~' in every path of a config.

    A shell expands no '~' after '=', as in --config.data_dir=~/data.
    """
    values = flatten(config)
    for field in schema_of(config).fields.values():
        if isinstance(field, Place) and isinstance(value := values.get(field.name), str):
            config.update_from_flattened_dict({field.name: field.expanded(value)})


def changed(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
    """Copies a config and sets fields of the copy, as the command line would.

    Args:
      config: copied, not changed itself.
      changes: new values by field, with dots inside nested configs.

    Raises:
      UserError: there is no such field, it cannot have that value, or fields do not fit each other.
    """
    copied = updated(config, changes)
    validate(copied)
    return copied


def updated(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
    """As `changed`, but fields that do not fit each other pass: more of them may be set later.

    Raises:
      UserError: there is no such field, or it cannot have that value.
    """
    copied = copy.deepcopy(config).lock()
    fields = schema_of(config).fields
    for name, value in changes.items():
        if name not in fields:
            raise unknown_field(name, fields)
        given = os.fspath(value) if isinstance(value, os.PathLike) else value
        try:
            copied.update_from_flattened_dict({name: given})
        except (TypeError, ValueError):
            raise wrong_value(fields[name], value) from None
        if not fields[name].accepts(flatten(copied)[name]):
            raise wrong_value(fields[name], value)
    expand_paths(copied)
    return copied


def to_json(config: ConfigDict) -> dict[str, Any]:
    """Converts a config as JSON would give it back: tuples to lists, unset fields to None."""
    return json.loads(config.to_json_best_effort())


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Lists the fields in which two JSON configs differ, as 'field: old -> new', without PLACES.

    Two ways to write the path of the same file or folder are no difference.
    """
    lines = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name, "absent"), new.get(name, "absent")
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += differences(before, after, f"{prefix}{name}.")
        elif name not in PLACES and not _is_same(name, before, after):
            lines.append(f"{prefix}{name}: {before!r} -> {after!r}")
    return lines


def _is_same(name: str, before: Any, after: Any) -> bool:
    if name in _PATHS and isinstance(before, str) and isinstance(after, str):
        return before == after or _normal(before) == _normal(after)
    return before == after


def shown_differently(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two JSON configs of the same run ask for different reports of it."""
    return any(old.get(name) != new.get(name) for name in SHOWN if name in new)


def _normal(paths: str) -> list[str]:
    """Paths with commas between them, absolute, with the home folder in the place of '~'."""
    return [
        path.rstrip("/") if "://" in path else os.path.abspath(expanded(path))  # noqa: PTH100 - takes names that cannot be
        for path in map(str.strip, paths.split(","))
    ]
