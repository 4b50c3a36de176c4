"""Changing configs, comparing them, and keeping them as JSON."""

import copy
import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from cifsel.config.schema import Place, flatten
from cifsel.config.selfie import SELFIE
from cifsel.config.task1 import TASK1
from cifsel.config.validation import schema_of, unknown_field, validate, wrong_value

# Fields that say where things are or how often to save, not what is computed.
PLACES = tuple(
    name for name, field in (SELFIE.fields | TASK1.fields).items() if not field.changes_result
)


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
      UserError: there is no such field, or it cannot have that value.
    """
    copied = copy.deepcopy(config).lock()
    fields = schema_of(config).fields
    for name, value in changes.items():
        if name not in fields:
            raise unknown_field(name, fields)
        try:
            copied.update_from_flattened_dict({name: value})
        except (TypeError, ValueError):
            raise wrong_value(fields[name], value) from None
    expand_paths(copied)
    validate(copied)
    return copied


def to_json(config: ConfigDict) -> dict[str, Any]:
    """Converts a config as JSON would give it back: tuples to lists, unset fields to None."""
    return json.loads(config.to_json_best_effort())


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Lists the fields in which two JSON configs differ, as 'field: old -> new', without PLACES."""
    lines = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name, "absent"), new.get(name, "absent")
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, f"{prefix}{name}.")
        elif before != after and name not in PLACES:
            lines.append(f"{prefix}{name}: {before!r} -> {after!r}")
    return lines
