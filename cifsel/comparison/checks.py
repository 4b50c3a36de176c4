"""What a comparison takes from metrics.json, looked at before it is believed."""

from collections.abc import Mapping
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from cifsel import config as config_lib
from cifsel.errors import UserError, one_line
from cifsel.models.classifier import MODELS

_SPLITS = ("val", "test")
_SHARES = ("accuracy", "top5", "macro_f1", "ece", "coarse_accuracy")
# What images a run saw, and what is said of it by name.
_FIELDS = ("split_seed", "val_per_class", "train_examples", "test_examples", "seed", "image_size")
# Where rounding to the next number would show, and far beyond what any machine does.
_LEAST, _MOST = 1e-9, 1e18


def check(metrics: Mapping[str, Any], path: epath.Path) -> None:
    """Refuses metrics that no run wrote.

    Raises:
      UserError: something is missing, or is not of the kind that it has to be.
    """
    needed = ("model", "config", "fingerprint", "cost", "training", "command", *_SPLITS)
    if missing := [key for key in needed if key not in metrics]:
        raise UserError(
            f"{path} lacks {', '.join(missing)}: expected what a run wrote; run it again in a new"
            " folder"
        )
    try:
        _check_texts(metrics)
        _check_config(metrics["config"])
        _check_numbers(metrics)
        _check_history(_at(metrics, "training.history", list))
    except (ValueError, UserError) as error:
        raise UserError(
            f"{path}: {error}: expected what a run wrote; run it again in a new folder"
        ) from None


def _at(content: Any, name: str, *kinds: type) -> Any:
    """The value of this name, ValueError unless it is of a kind; 'a.b' is in the object 'a'."""
    for part in [name] if isinstance(content, dict) and name in content else name.split("."):
        if not isinstance(content, dict) or part not in content:
            raise ValueError(f"there is no {name}")
        content = content[part]
    if type(content) not in kinds:
        raise ValueError(f"{name} is {content!r}, not {' or '.join(k.__name__ for k in kinds)}")
    return content


def _number(content: Any, name: str, least: float, most: float) -> None:
    if not least <= (value := _at(content, name, int, float)) <= most:
        raise ValueError(f"{name} is {value}, not {least:g} to {most:g}")


def _check_texts(metrics: Mapping[str, Any]) -> None:
    for name in ("fingerprint", "command"):
        _at(metrics, name, str)
    if _at(metrics, "model", str) not in MODELS:
        raise ValueError(f"model is {metrics['model']!r}, not one of {', '.join(MODELS)}")
    for name in ("versions", "devices"):
        if name in metrics:
            _at(metrics, name, dict)


def _check_config(config: Any) -> None:
    for name, kind in (("recipe", str), ("resize", str), ("dataset", str), ("try_gcs", bool)):
        _at(config, name, kind)
    if not config["recipe"].isprintable():
        raise ValueError(f"recipe is {config['recipe']!r}, which no recipe is called")
    _at(config, "data_dir", str, type(None))
    config_lib.check_fields(config, _FIELDS)
    _number(config, "train_fraction", 0, 1)
    try:
        ConfigDict(config)
    except Exception as error:  # of names that fields cannot have
        raise ValueError(f"config is of something else ({one_line(error)})") from None


def _check_numbers(metrics: Mapping[str, Any]) -> None:
    for split in _SPLITS:
        _number(metrics, f"{split}.loss", 0, _MOST)
        for score in _SHARES:
            _number(metrics, f"{split}.{score}", 0, 1)
    for name in ("parameters", "passes_per_image", "images_per_second"):
        _number(metrics, f"cost.{name}", _LEAST, _MOST)
    if _at(metrics, "cost.flops_per_image", int, float, type(None)):
        _number(metrics, "cost.flops_per_image", _LEAST, _MOST)
    for phase, seconds in _at(metrics, "cost.seconds", dict).items():
        _number({phase: seconds}, phase, 0, _MOST)


def _check_history(history: list[Any]) -> None:
    for epoch in history:
        _number(epoch, "epoch", 0, _MOST)
        for name, value in epoch.items():
            if value is not None:
                _number({name: value}, name, -_MOST, _MOST)
