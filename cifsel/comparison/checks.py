"""Checks the content of a metrics.json, which others may have written, and reads it."""

from collections.abc import Mapping
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from cifsel import config as config_lib
from cifsel.errors import UserError, one_line
from cifsel.models.classifier import MODELS
from cifsel.training.results import RunMetrics
from cifsel.workdir.predictions import SPLITS

_SHARES = ("accuracy", "balanced_accuracy", "majority", "top5", "macro_f1", "ece")
# Fields of the config that say which images a run saw, or that a report names.
_FIELDS = ("split_seed", "val_per_class", "train_examples", "test_examples", "seed", "image_size")
# Bounds of positive numbers. A smaller one would be rounded to 0, and no machine reaches a larger.
_MIN, _MAX = 1e-9, 1e18


def parse_metrics(content: Mapping[str, Any], path: epath.Path) -> RunMetrics:
    """Checks the content of a metrics.json and makes an object of it.

    Args:
      content: the parsed JSON.
      path: of the file, for messages.

    Raises:
      UserError: a field is missing, or its value is of the wrong type or out of range.
    """
    needed = ("model", "config", "fingerprint", "cost", "training", "command", *SPLITS)
    if missing := [key for key in needed if key not in content]:
        raise UserError(
            f"{path} lacks {', '.join(missing)}: expected what a run wrote; run it again in a new"
            " folder"
        )
    try:
        _check_texts(content)
        _check_config(content["config"])
        _check_numbers(content)
        _check_history(_get(content, "training.history", list))
        return RunMetrics.from_json(content)
    except KeyError as error:
        reason = f"there is no {error.args[0]}"
    except (ValueError, UserError) as error:
        reason = str(error)
    except (TypeError, AttributeError) as error:
        reason = one_line(error)
    raise UserError(f"{path}: {reason}: expected what a run wrote; run it again in a new folder")


def _get(content: Any, name: str, *types: type) -> Any:
    """Returns the value of a field. 'a.b' is the field 'b' of the object 'a'.

    Raises:
      ValueError: there is no such field, or its value is of another type.
    """
    for part in [name] if isinstance(content, dict) and name in content else name.split("."):
        if not isinstance(content, dict) or part not in content:
            raise ValueError(f"there is no {name}")
        content = content[part]
    if type(content) not in types:
        raise ValueError(f"{name} is {content!r}, not {' or '.join(t.__name__ for t in types)}")
    return content


def _check_range(content: Any, name: str, minimum: float, maximum: float) -> None:
    if not minimum <= (value := _get(content, name, int, float)) <= maximum:
        raise ValueError(f"{name} is {value}, not {minimum:g} to {maximum:g}")


def _check_texts(content: Mapping[str, Any]) -> None:
    for name in ("fingerprint", "command"):
        _get(content, name, str)
    if _get(content, "model", str) not in MODELS:
        raise ValueError(f"model is {content['model']!r}, not one of {', '.join(MODELS)}")
    for name in ("versions", "devices"):
        if name in content:
            _get(content, name, dict)


def _check_config(config: Any) -> None:
    for name, field_type in (("recipe", str), ("resize", str), ("dataset", str), ("try_gcs", bool)):
        _get(config, name, field_type)
    if not config["recipe"].isprintable():
        raise ValueError(f"recipe is {config['recipe']!r}, which no recipe is called")
    _get(config, "data_dir", str, type(None))
    config_lib.check_fields(config, _FIELDS)
    _check_range(config, "train_fraction", 0, 1)
    try:
        ConfigDict(config)
    except Exception as error:  # A ConfigDict refuses some names of fields, with several types.
        raise ValueError(f"config is of something else ({one_line(error)})") from None


def _check_numbers(content: Mapping[str, Any]) -> None:
    for split in SPLITS:
        _check_range(content, f"{split}.loss", 0, _MAX)
        for score in _SHARES:
            _check_range(content, f"{split}.{score}", 0, 1)
        if _get(content, f"{split}.coarse_accuracy", int, float, type(None)) is not None:
            _check_range(content, f"{split}.coarse_accuracy", 0, 1)
    for name in ("parameters", "passes_per_image", "images_per_second"):
        _check_range(content, f"cost.{name}", _MIN, _MAX)
    if _get(content, "cost.flops_per_image", int, float, type(None)):
        _check_range(content, "cost.flops_per_image", _MIN, _MAX)
    for phase, seconds in _get(content, "cost.seconds", dict).items():
        _check_range({phase: seconds}, phase, 0, _MAX)


def _check_history(history: list[Any]) -> None:
    for epoch in history:
        _check_range(epoch, "epoch", 0, _MAX)
        for name, value in epoch.items():
            _check_range({name: value}, name, -_MAX, _MAX)
