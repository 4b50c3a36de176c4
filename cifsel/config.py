"""What may stand in a config, and how two of them differ."""

import copy
import json
import operator
import re
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from cifsel.data import augment, crops, transforms
from cifsel.errors import UserError
from cifsel.models.classifier import MODELS

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

# (least, most), both allowed.
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
    "warmup_epochs": (0, 10_000),
    "backbone_rate": (1e-9, 1e3),
    "layer_decay": (1e-3, 1),
    "weight_decay": (0, 10),
    "clip_norm": (0, 1e6),
    "activity_l1": (0, 1),
    "patience": (0, 10_000),
    "eval_batch_size": (1, 65_536),
    "steps_per_call": (0, 1_000_000),
    "checkpoint_minutes": (0, 10_000),
    "profile_steps": (0, 1_000_000),
    "processes": (1, 65_536),
    "process": (0, 65_535),
    "alpha": (0.05, 4),
}

# Task 2 has fields of its own, see configs/selfie.py.
SELFIE_CHOICES: dict[str, tuple[Any, ...]] = {"crop": crops.CROPS, "model": MODELS}
SELFIE_RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**31 - 1),
    "burst_seconds": (0, 1e9),
    "crop_margin": (crops.MIN_MARGIN, crops.MAX_MARGIN),
    "folds": (3, 20),
    "repeats": (1, 1_000),
    "permutations": (0, 100_000),
    "leave_one_out": (0, 5_000),
    "tuned_layers": (0, 1_000),
}
SELFIE_GRIDS = {"depths": (0.0, 1.0), "grids": (1, 32), "l2": (1e-6, 1e3)}

# At least 0 and below 1.
SHARES = ("dropout", "drop_path", "label_smoothing", "ema_decay")


def validate(config: ConfigDict) -> None:
    """Refuses values that cannot work, before anything is read or written.

    Raises:
      UserError: names the field, its value, and what it may be.
    """
    if config.task == "selfie":
        _validate_selfie(config)
        return
    _validate_fields(config, CHOICES, RANGES)
    for field in SHARES:
        if not 0 <= config[field] < 1:
            raise _bad(field, config[field], "at least 0 and below 1")
    if not 0 < config.train_fraction <= 1:
        raise _bad("train_fraction", config.train_fraction, "above 0 and at most 1")
    grid = config.probe_l2
    if not grid or not all(isinstance(l2, int | float) and l2 > 0 for l2 in grid):
        raise _bad("probe_l2", grid, "one or more numbers above 0")
    try:
        augment.Policy(**config.augment)
    except ValueError as error:
        raise UserError(f"config.augment.{error}") from None
    _validate_together(config)


def _validate_fields(
    config: ConfigDict,
    choices: Mapping[str, tuple[Any, ...]],
    ranges: Mapping[str, tuple[float, float]],
) -> None:
    for field, allowed in choices.items():
        if config[field] not in allowed:
            raise _bad(field, config[field], f"one of {', '.join(map(str, allowed))}")
    for field, (least, most) in ranges.items():
        if not least <= config[field] <= most:
            raise _bad(field, config[field], f"{least:g} to {most:g}")


def _validate_selfie(config: ConfigDict) -> None:
    _validate_fields(config, SELFIE_CHOICES, SELFIE_RANGES)
    if not config.photos:
        raise _bad("photos", config.photos, "a folder with a sub-folder for each class, or zips")
    if not config.init_from:
        raise _bad("init_from", config.init_from, "the folder of a task-1 run, or 'imagenet'")
    if config.image_size and not 32 <= config.image_size <= 1024:
        raise _bad("image_size", config.image_size, "0 for the checkpoint's, or 32 to 1024")
    if config.permutations == 1:
        raise _bad("permutations", 1, "0 for none, or 2 or more")
    if config.people_csv and config.people_pattern:
        raise _bad("people_pattern", config.people_pattern, "not set, beside people_csv")
    for field, (least, most) in SELFIE_GRIDS.items():
        values = config[field]
        if not values or not all(
            isinstance(one, int | float) and least <= one <= most for one in values
        ):
            raise _bad(field, values, f"one or more numbers from {least:g} to {most:g}")


def _validate_together(config: ConfigDict) -> None:
    if config.task == "quickstart":
        if config.distributed != "off":
            raise _bad("distributed", config.distributed, "'off', as the quickstart is small")
        models = config.get("models")
        if models is None:
            raise _bad("task", config.task, "task1; configs/quickstart.py is the quickstart")
        if not models or not set(models) <= set(MODELS):
            raise _bad("models", models, f"one or more of {', '.join(MODELS)}")
        try:
            _validate_selfie(config.selfie)
        except UserError as error:
            raise UserError(str(error).replace("config.", "config.selfie.", 1)) from None
    if config.train_size and not 32 <= config.train_size <= 1024:
        raise _bad("train_size", config.train_size, "0 for image_size, or 32 to 1024")
    if config.train_size and (config.pool == "flatten" or config.trainable_layers == 0):
        raise _bad("train_size", config.train_size, "0 unless the backbone trains and pool=average")
    if config.augment.shift >= 32:
        raise _bad("augment.shift", config.augment.shift, "0 to 31, as the images have 32 pixels")
    if config.method == "probe" or config.init_head == "probe":
        for field, needed in (("hidden", 0), ("pool", "average")):
            if config[field] != needed:
                raise _bad(field, config[field], f"{needed}, as the probe is a single linear layer")
    _validate_processes(config)
    if config.trainable_layers > 0 and not config.frozen_bn:
        raise _bad("frozen_bn", False, "True unless all layers train: frozen means statistics too")


def _validate_processes(config: ConfigDict) -> None:
    if config.distributed not in ("off", "auto"):
        if not re.fullmatch(r".+:\d+", config.distributed):
            raise _bad("distributed", config.distributed, "'off', 'auto', or host:port")
        if config.process >= config.processes:
            raise _bad("process", config.process, f"below config.processes, {config.processes}")
    elif config.processes != 1 or config.process:
        raise _bad("distributed", config.distributed, "host:port, as config.processes is given")


def changed(config: ConfigDict, values: Mapping[str, Any]) -> ConfigDict:
    """A copy with other values, as the command line would set them.

    Args:
      config: what to start from.
      values: by field; nested ones with a dot.

    Raises:
      UserError: there is no such field, or it cannot have that value.
    """
    copied = copy.deepcopy(config).lock()
    known = fields(config)
    for field, value in values.items():
        if field not in known:
            raise UserError(f"config has no field {field!r}; its fields: {', '.join(known)}")
        try:
            copied.update_from_flattened_dict({field: value})
        except (TypeError, ValueError):
            kind = type(operator.attrgetter(field)(config)).__name__
            raise _bad(field, value, kind) from None
    validate(copied)
    return copied


def _bad(field: str, value: Any, expected: str) -> UserError:
    return UserError(f"config.{field} is {value!r}; expected {expected}")


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


def explain(error: Exception, config: ConfigDict) -> str:
    """One line about what is wrong with the flags, where `config` has all fields there are."""
    text = " ".join(str(error).replace("\\n", " ").replace("\\'", "'").split())
    if "Traceback" in text:  # A config file raised it: its own message comes last.
        return str(error).strip().splitlines()[-1].removeprefix("ValueError: ")
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
