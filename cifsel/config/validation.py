"""What may stand in a config: checked before anything is read or written.

A config comes from a program of the user's, which may put anything anywhere, so that nothing is
taken to be there, or to be a number, before it was looked at.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from cifsel.data import augment, transforms
from cifsel.data.photos import crops
from cifsel.errors import UserError, one_line
from cifsel.models.classifier import MODELS

CHOICES: dict[str, tuple[Any, ...]] = {
    "task": ("task1", "selfie", "quickstart"),
    "method": ("probe", "finetune"),
    "dataset": ("cifar100", "drawn"),
    "model": MODELS,
    "resize": transforms.METHODS,
    "pool": ("average", "flatten"),
    "dtype": ("auto", "float32", "bfloat16"),
    "init_head": ("probe", "random"),
    "optimizer": ("adamw", "sgd"),
    "schedule": ("cosine", "constant"),
    "weights_resolution": (128, 160, 192, 224),
}

# (least, most), both allowed; where both are whole numbers, so is the field.
RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**31 - 1),
    "split_seed": (0, 2**31 - 1),
    "val_per_class": (1, 499),
    "train_examples": (0, 25_000),
    "test_examples": (0, 5_000),
    "image_size": (32, 1024),
    "hidden": (0, 65_536),
    "probe_steps": (1, 100_000),
    "probe_tolerance": (1e-12, 1.0),
    "trainable_layers": (-1, 1_000),
    "epochs": (1, 10_000),
    "batch_size": (1, 65_536),
    "accum_steps": (1, 65_536),
    "learning_rate": (1e-9, 1e3),
    "warmup_epochs": (0.0, 1e4),
    "backbone_rate": (1e-9, 1e3),
    "layer_decay": (1e-3, 1.0),
    "weight_decay": (0.0, 10.0),
    "clip_norm": (0.0, 1e6),
    "activity_l1": (0.0, 1.0),
    "patience": (0, 10_000),
    "eval_batch_size": (1, 65_536),
    "steps_per_call": (0, 1_000_000),
    "checkpoint_minutes": (0.0, 1e4),
    "profile_steps": (0, 1_000_000),
    "processes": (1, 65_536),
    "process": (0, 65_535),
    "alpha": (0.05, 4.0),
}
# At least 0 and below 1.
SHARES = ("dropout", "drop_path", "label_smoothing", "ema_decay")
# One or more numbers.
GRIDS = {"probe_l2": (1e-12, 1e6)}
SWITCHES = ("try_gcs", "mirror", "frozen_bn")
TEXTS = ("name", "recipe", "weights", "distributed")
# Not set, or texts.
PLACEHOLDERS = ("data_dir", "weights_dir")

# Task 2 has fields of its own, see configs/selfie.py.
SELFIE_CHOICES: dict[str, tuple[Any, ...]] = {"crop": crops.CROPS, "model": MODELS}
SELFIE_RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**31 - 1),
    "burst_seconds": (0.0, 1e9),
    "crop_margin": (crops.MIN_MARGIN, crops.MAX_MARGIN),
    "folds": (3, 20),
    "repeats": (1, 1_000),
    "permutations": (0, 100_000),
    "leave_one_out": (0, 5_000),
    "tuned_layers": (0, 1_000),
}
SELFIE_GRIDS = {"depths": (0.0, 1.0), "grids": (1, 32), "l2": (1e-6, 1e3)}
SELFIE_SWITCHES = ("skip_unreadable", "crop_fallback", "save_photos")
SELFIE_TEXTS = ("name", "recipe")
SELFIE_PLACEHOLDERS = ("photos", "people_csv", "people_pattern", "init_from", "weights_dir")


def validate(config: ConfigDict) -> None:
    """Refuses values that cannot work, before anything is read or written.

    Raises:
      UserError: names the field, its value, and what it may be.
    """
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"the config is a {type(config).__name__}; expected get_config() to return a ConfigDict"
        )
    _check_choices(config, {"task": CHOICES["task"]})
    if config.task == "selfie":
        _validate_selfie(config)
    else:
        _validate_task1(config)
    try:
        json.dumps(json.loads(config.to_json_best_effort()), allow_nan=False)
    except Exception as error:  # of fields that nothing else asks for
        raise UserError(
            f"the config cannot be kept as JSON ({one_line(error)}): leave out what is no plain"
            " value"
        ) from None


def _validate_task1(config: ConfigDict) -> None:
    _check_choices(config, CHOICES)
    check_ranges(config, RANGES)
    _check_grids(config, GRIDS)
    _check_kinds(config, SWITCHES, TEXTS, PLACEHOLDERS)
    for field in SHARES:
        if not (_is_number(value := _get(config, field)) and 0 <= value < 1):
            raise bad(field, value, "at least 0 and below 1")
    if not (_is_number(share := _get(config, "train_fraction")) and 0 < share <= 1):
        raise bad("train_fraction", share, "above 0 and at most 1")
    _check_size(config, "train_size", "0 for image_size")
    _check_augment(_get(config, "augment"))
    _validate_together(config)


def _validate_selfie(config: ConfigDict) -> None:
    _check_choices(config, {"task": ("selfie",)} | SELFIE_CHOICES)
    check_ranges(config, SELFIE_RANGES)
    _check_grids(config, SELFIE_GRIDS)
    _check_kinds(config, SELFIE_SWITCHES, SELFIE_TEXTS, SELFIE_PLACEHOLDERS)
    _check_size(config, "image_size", "0 for the checkpoint's")
    if not config.photos:
        raise bad("photos", config.photos, "a folder with a sub-folder for each class, or zips")
    if not config.init_from:
        raise bad("init_from", config.init_from, "the folder of a task-1 run, or 'imagenet'")
    if config.permutations == 1:
        raise bad("permutations", 1, "0 for none, or 2 or more")
    if config.people_csv and config.people_pattern:
        raise bad("people_pattern", config.people_pattern, "not set, beside people_csv")


def _validate_together(config: ConfigDict) -> None:
    if config.task == "quickstart":
        _validate_quickstart(config)
    if config.train_size and (config.pool == "flatten" or config.trainable_layers == 0):
        raise bad("train_size", config.train_size, "0 unless the backbone trains and pool=average")
    if config.method == "probe" or config.init_head == "probe":
        for field, needed in (("hidden", 0), ("pool", "average")):
            if config[field] != needed:
                raise bad(field, config[field], f"{needed}, as the probe is a single linear layer")
    _validate_processes(config)
    if config.trainable_layers > 0 and not config.frozen_bn:
        raise bad("frozen_bn", False, "True unless all layers train: frozen means statistics too")


def _validate_quickstart(config: ConfigDict) -> None:
    if config.distributed != "off":
        raise bad("distributed", config.distributed, "'off', as the quickstart is small")
    if "models" not in config:
        raise bad("task", config.task, "task1; configs/quickstart.py is the quickstart")
    models = _get(config, "models")
    if not isinstance(models, tuple | list) or not models or any(m not in MODELS for m in models):
        raise bad("models", models, f"one or more of {', '.join(MODELS)}")
    if not isinstance(selfie := _get(config, "selfie"), ConfigDict):
        raise bad("selfie", selfie, "a ConfigDict, as configs/selfie.py gives it")
    try:
        _validate_selfie(selfie)
    except UserError as error:
        raise UserError(str(error).replace("config.", "config.selfie.", 1)) from None


def _validate_processes(config: ConfigDict) -> None:
    if config.distributed not in ("off", "auto"):
        if not re.fullmatch(r".+:\d+", config.distributed):
            raise bad("distributed", config.distributed, "'off', 'auto', or host:port")
        if config.process >= config.processes:
            raise bad("process", config.process, f"below config.processes, {config.processes}")
    elif config.processes != 1 or config.process:
        raise bad("distributed", config.distributed, "host:port, as config.processes is given")


# --- single fields -------------------------------------------------------------------------------


def bad(field: str, value: Any, expected: str) -> UserError:
    """The error for a value of a field."""
    try:
        shown = repr(value)
    except Exception:  # Of a number of thousands of digits, for one.
        shown = f"a {type(value).__name__}"
    return UserError(f"config.{field} is {shown}; expected {expected}")


def check_ranges(
    config: Mapping[str, Any] | ConfigDict, ranges: Mapping[str, tuple[float, float]]
) -> None:
    """Raises UserError unless each of the fields is a number within its range."""
    for field, (least, most) in ranges.items():
        value = _get(config, field)
        if not _is_number(value) or not least <= value <= most:
            raise bad(field, value, f"{least:g} to {most:g}")
        if isinstance(least, int) and not isinstance(value, int):
            raise bad(field, value, "a whole number")


def _get(config: Mapping[str, Any] | ConfigDict, field: str) -> Any:
    try:
        return config[field]
    except KeyError:
        raise UserError(f"config has no field {field!r}; expected those of configs/") from None
    except Exception as error:  # a field may be computed
        raise UserError(f"config.{field} has no value ({one_line(error)})") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_choices(config: ConfigDict, choices: Mapping[str, tuple[Any, ...]]) -> None:
    for field, allowed in choices.items():
        value = _get(config, field)
        if type(value) not in (str, int) or value not in allowed:
            raise bad(field, value, f"one of {', '.join(map(str, allowed))}")


def _check_grids(config: ConfigDict, grids: Mapping[str, tuple[float, float]]) -> None:
    for field, (least, most) in grids.items():
        values = _get(config, field)
        kind = "whole numbers" if isinstance(least, int) else "numbers"
        if not (
            isinstance(values, tuple | list)
            and values
            and all(_is_number(one) and least <= one <= most for one in values)
            and (kind == "numbers" or all(isinstance(one, int) for one in values))
        ):
            raise bad(field, values, f"one or more {kind} from {least:g} to {most:g}")


def _check_kinds(
    config: ConfigDict, switches: Iterable[str], texts: Iterable[str], placeholders: Iterable[str]
) -> None:
    for field in switches:
        if not isinstance(value := _get(config, field), bool):
            raise bad(field, value, "True or False")
    for field in (*texts, *placeholders):
        value = _get(config, field)
        if value is None and field in placeholders:
            continue
        if not isinstance(value, str) or "\0" in value:
            raise bad(field, value, "a text")


def _check_size(config: ConfigDict, field: str, zero: str) -> None:
    value = _get(config, field)
    if type(value) is not int or (value and not 32 <= value <= 1024):
        raise bad(field, value, f"{zero}, or 32 to 1024")


def _check_augment(changes: Any) -> None:
    if not isinstance(changes, ConfigDict):
        raise bad("augment", changes, "a ConfigDict, as configs/common.py gives it")
    for field, value in changes.items():
        if field == "flip" and not isinstance(value, bool):
            raise bad("augment.flip", value, "True or False")
        if field != "flip" and not (_is_number(value) and math.isfinite(value)):
            raise bad(f"augment.{field}", value, "a number")
    try:
        policy = augment.Policy(**changes)
    except ValueError as error:
        raise UserError(f"config.augment.{error}") from None
    except TypeError as error:
        raise UserError(f"config.augment is {changes.to_dict()} ({one_line(error)})") from None
    if policy.shift >= 32:
        raise bad("augment.shift", policy.shift, "0 to 31, as the images have 32 pixels")
