"""Changing, keeping and comparing configs, and saying what is wrong with them."""

import copy
import importlib.machinery
import json
import operator
import os
import re
import types
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from cifsel.errors import UserError, one_line

# Fields that say where things are or how often to save, not what is computed.
PLACES = (
    "data_dir",
    "weights_dir",
    "try_gcs",
    "checkpoint_minutes",
    "profile_steps",
    "distributed",
    "processes",
    "process",
)


def changed(config: ConfigDict, values: Mapping[str, Any]) -> ConfigDict:
    """A copy with other values, as the command line would set them.

    Args:
      config: what to start from.
      values: by field; nested ones with a dot.

    Raises:
      UserError: there is no such field, or it cannot have that value.
    """
    from cifsel.config.validation import bad, validate  # With JAX, which takes a second.

    copied = copy.deepcopy(config).lock()
    known = fields(config)
    for field, value in values.items():
        if field not in known:
            raise UserError(f"config has no field {field!r}; its fields: {', '.join(known)}")
        try:
            copied.update_from_flattened_dict({field: value})
        except (TypeError, ValueError):
            kind = type(operator.attrgetter(field)(config)).__name__
            raise bad(field, value, kind) from None
    validate(copied)
    return copied


def to_json(config: ConfigDict) -> dict[str, Any]:
    """The config as JSON would give it back: tuples become lists, unset fields None."""
    return json.loads(config.to_json_best_effort())


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Fields in which two JSON configs differ, as 'field: old -> new', without PLACES."""
    found = []
    for field in sorted(old.keys() | new.keys()):
        a, b = old.get(field, "absent"), new.get(field, "absent")
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{field}.")
        elif a != b and field not in PLACES:
            found.append(f"{prefix}{field}: {a!r} -> {b!r}")
    return found


def check_file(given: str) -> None:
    """Raises UserError unless the file is there; a recipe may follow its name, after a colon."""
    path = given.partition(":")[0]
    if not os.path.isfile(path):  # noqa: PTH113 - takes names that cannot be
        found = "not a file" if os.path.lexists(path) else "No such file"
        raise UserError(f"--config cannot be read: {found}: {path!r}")


def load(given: str) -> ConfigDict:
    """Runs a config file, which is a program of the user's.

    Args:
      given: as the command line has it: a path, and after a colon perhaps a recipe.

    Raises:
      UserError: it cannot be run, or gives no config.
    """
    check_file(given)
    path, _, recipe = given.partition(":")
    module = types.ModuleType("config")
    module.__file__ = path
    try:
        importlib.machinery.SourceFileLoader(module.__name__, path).exec_module(module)
        if not callable(getattr(module, "get_config", None)):
            raise ValueError(f"{path} has no function get_config")
        config = module.get_config(*([recipe] if recipe else []))
    except (Exception, SystemExit) as error:
        text = one_line(error)
        if not isinstance(error, ValueError) or path not in text:
            text = f"--config={path} fails ({type(error).__name__}: {text})"
        raise UserError(text) from error
    if not isinstance(config, ConfigDict):
        found = type(config).__name__
        raise UserError(f"get_config of {path} returns {found}; expected a ConfigDict")
    return config


def explain(error: BaseException, config: ConfigDict) -> str:
    """One line about what is wrong with the flags, where `config` has all fields there are."""
    text = " ".join(str(error).replace("\\n", " ").replace("\\'", "'").split())
    unknown = re.search(r"flag 'config\.([\w.]+)'", text)
    if unknown is None and ("Did you mean" in text or isinstance(error, KeyError | AttributeError)):
        unknown = re.search(r"'(\w+)'", text)
    if unknown:
        hint = re.search(r'Did you mean "(\w+)"', text)
        meant = f" (did you mean {hint[1]}?)" if hint else ""
        return f"config has no field {unknown[1]!r}{meant}; its fields: {', '.join(fields(config))}"
    value = re.match(r"flag --config\.([\w.]+)=(.*?): ", text)
    if value and value[1] in fields(config):
        kind = config.get_type(value[1]) if "." not in value[1] else None
        expected = f"; expected {kind.__name__}" if kind else ""
        return f"config.{value[1]} is {value[2]!r}{expected}"
    return text


def fields(config: ConfigDict) -> list[str]:
    """Names of all fields, nested ones with a dot."""
    names = []
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            names += [f"{name}.{below}" for below in fields(value)]
        else:
            names.append(name)
    return sorted(names)
