"""Checks a config against its schema, before anything is read or written."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from cifsel.config.quickstart import QUICKSTART
from cifsel.config.schema import Field, Schema, flatten
from cifsel.config.selfie import SELFIE
from cifsel.config.similar import did_you_mean
from cifsel.config.task1 import TASK1
from cifsel.errors import UserError

SCHEMAS = {"task1": TASK1, "selfie": SELFIE, "quickstart": QUICKSTART}
DATASETS = ("cifar100", "cifar100:all", "folder", "drawn")
# In configs/, where each task has its defaults.
_FILES = {"task1": "common.py", "selfie": "selfie.py", "quickstart": "quickstart.py"}


def validate(config: ConfigDict) -> None:
    """Refuses a config that cannot work.

    Raises:
      UserError: the message names the field, its value, and the expected values.
    """
    schema = schema_of(config)
    by_name = flatten(config)
    _check_names(by_name, schema, config.task)
    for field in schema.fields.values():
        if not field.accepts(value := by_name[field.name]):
            raise wrong_value(field, value)
    for check in _CHECKS[config.task]:
        check(config)


def schema_of(config: ConfigDict) -> Schema:
    """The schema of the config's task.

    Raises:
      UserError: this is no config, or its task is unknown.
    """
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"the config is a {type(config).__name__}; expected get_config() to return a ConfigDict"
        )
    task = config.get("task")
    if not isinstance(task, str) or task not in SCHEMAS:
        raise bad_value("task", task, f"one of {', '.join(SCHEMAS)}", SCHEMAS)
    return SCHEMAS[task]


def check_fields(config: Mapping[str, Any], names: Iterable[str]) -> None:
    """Checks some fields of a task-1 config that was read from a file.

    Raises:
      UserError: a field is missing, or does not have one of the expected values.
    """
    for name in names:
        if name not in config:
            raise UserError(f"config has no field {name!r}; expected {TASK1.fields[name].expected}")
        if not TASK1.fields[name].accepts(config[name]):
            raise wrong_value(TASK1.fields[name], config[name])


def bad_value(name: str, value: object, expected: str, choices: Collection[str] = ()) -> UserError:
    """The error for the value of a field, which may be a mistyped choice."""
    hint = did_you_mean(value, choices) if isinstance(value, str) else ""
    return UserError(f"config.{name} is {value!r}{hint}; expected {expected}")


def wrong_value(field: Field, value: object) -> UserError:
    """The error for a value that a field does not accept."""
    return bad_value(field.name, value, field.expected, field.suggested)


def unknown_field(name: str, known: Iterable[str]) -> UserError:
    """The error for a field that is not among the known ones."""
    known = list(known)
    hint = did_you_mean(name, known)
    where = "" if hint else "; --help beside --config lists its fields"
    return UserError(f"config has no field {name!r}{hint}{where}")


def _check_names(by_name: Mapping[str, Any], schema: Schema, task: str) -> None:
    """Raises UserError unless the config has all fields of the schema, and no others."""
    missing = [name for name in schema.fields if name not in by_name]
    for group in dict.fromkeys(name.partition(".")[0] for name in missing if "." in name):
        if group in by_name:
            raise bad_value(
                group, by_name[group], f"a ConfigDict, as configs/{_FILES[task]} gives it"
            )
    if missing:
        raise UserError(
            f"config.task is {task!r}, but the config lacks {', '.join(missing)}; start from"
            f" get_config() of configs/{_FILES[task]}"
        )
    # The quickstart's own fields stay in the configs of the task-1 runs that it starts.
    known = schema.fields | (QUICKSTART.fields if task == "task1" else {})
    for name in by_name:
        if name not in known:
            raise unknown_field(name, schema.fields)


# --- fields that depend on each other ------------------------------------------------------------


def _check_dataset(config: ConfigDict) -> None:
    if config.dataset not in DATASETS and not re.fullmatch(r"tfds:[\w/.:+-]+", config.dataset):
        raise bad_value(
            "dataset",
            config.dataset,
            f"one of {', '.join(DATASETS)}, or tfds:NAME; for a folder of images give"
            " --config=configs/folder.py --config.data=FOLDER",
            DATASETS,
        )
    if (config.dataset == "folder") != (config.data is not None):
        if config.data is None:
            raise bad_value("data", None, "the folder, zip or list of images")
        raise bad_value("dataset", config.dataset, "'folder', as config.data is given")
    if config.val_share + config.test_share >= 1:
        raise bad_value("test_share", config.test_share, "less than 1 together with val_share")


def _check_recipe(config: ConfigDict) -> None:
    if config.train_size and (config.pool == "flatten" or config.trainable_layers == 0):
        raise bad_value(
            "train_size", config.train_size, "0 unless the backbone trains and pool=average"
        )
    if config.method == "probe" or config.init_head == "probe":
        for name, needed in (("hidden", 0), ("pool", "average")):
            if config[name] != needed:
                raise bad_value(
                    name, config[name], f"{needed}, as the probe is a single linear layer"
                )
    if config.trainable_layers > 0 and not config.frozen_bn:
        raise bad_value(
            "frozen_bn", False, "True unless all layers train: frozen means statistics too"
        )


def _check_processes(config: ConfigDict) -> None:
    if config.distributed in ("off", "auto"):
        if config.processes != 1 or config.process:
            raise bad_value(
                "distributed", config.distributed, "host:port, as config.processes is given"
            )
    elif not re.fullmatch(r".+:\d+", config.distributed):
        raise bad_value("distributed", config.distributed, "'off', 'auto', or host:port")
    elif config.process >= config.processes:
        raise bad_value("process", config.process, f"below config.processes, {config.processes}")


def _check_quickstart(config: ConfigDict) -> None:
    if config.distributed != "off":
        raise bad_value("distributed", config.distributed, "'off', as the quickstart is small")
    _check_selfie(config.selfie, "selfie.")


def _check_selfie(config: ConfigDict, prefix: str = "") -> None:
    needed = {
        "photos": "a folder with a sub-folder for each class, or zips",
        "init_from": "the folder of a task-1 run, a model file, or 'imagenet'",
    }
    for name, expected in needed.items():
        if not config[name]:
            raise bad_value(prefix + name, config[name], expected)
    if config.people_csv and config.people_pattern:
        raise bad_value(
            f"{prefix}people_pattern", config.people_pattern, "not set, beside people_csv"
        )


_TASK1_CHECKS = (_check_dataset, _check_recipe, _check_processes)
_CHECKS: dict[str, tuple[Callable[[ConfigDict], None], ...]] = {
    "task1": _TASK1_CHECKS,
    "selfie": (_check_selfie,),
    "quickstart": (*_TASK1_CHECKS, _check_quickstart),
}
