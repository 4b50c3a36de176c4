"""The values that the fields of a checkpoint's meta can have.

Fields that come from a config have the ranges of `cifsel.config`.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from cifsel.config import SELFIE, TASK1, flatten
from cifsel.config.quickstart import QUICKSTART
from cifsel.config.schema import Bool, Field, Float, Int, Text
from cifsel.errors import one_line, printable

MODEL, ALPHA = TASK1.fields["model"], TASK1.fields["alpha"]
IMAGE_SIZE, RESIZE = TASK1.fields["image_size"], TASK1.fields["resize"]
CROP, CROP_MARGIN = SELFIE.fields["crop"], SELFIE.fields["crop_margin"]
CROP_MIDDLE = SELFIE.fields["crop_middle"]
IMAGE_SIDE = Int("image_side", 32, "pixels of an image before it is resized", 1, 1024)
L2 = Float("l2", 1.0, "penalty", 0, 1e6)
TEMPERATURE = Float("temperature", 1.0, "by which logits are divided", 1e-3, 1e3)
SHARE = Float("share", 0.0, "a share or probability", 0, 1)
DISTANCE = Float("distance", 1.0, "in standard deviations", 0, 1e6)
GRID = Int("grid", 1, "cells per side", 1, 32)
SWITCH = Bool("switch", False, "yes or no")
TEXT = Text("text", "", "any text")
# Quickstart's runs of task 1 keep its other fields.
CLASSIFIER_CONFIG, SELFIE_CONFIG = QUICKSTART.fields | TASK1.fields, SELFIE.fields
MOST_CLASSES, MOST_PLACES, MOST_NAME = 10_000, 100, 255
_SHOWN = 60  # characters of a wrong value in a message


def value(content: Mapping[str, Any], name: str, field: Field) -> Any:
    """The value of a field. Raises KeyError if it is missing, ValueError if it cannot be."""
    if not field.accepts(content[name]):
        raise _wrong(name, content[name], field.expected)
    return content[name]


def value_or_none(content: Mapping[str, Any], name: str, field: Field) -> Any:
    """The same for a field that may be null."""
    return None if content[name] is None else value(content, name, field)


def mapping(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The value of a field that is an object."""
    if not isinstance(content[name], Mapping):
        raise _wrong(name, content[name], "an object")
    return content[name]


def items(content: Mapping[str, Any], name: str, field: Field) -> tuple[Any, ...]:
    """The values of a list, all of one kind."""
    if not isinstance(content[name], list):
        raise _wrong(name, content[name], "a list")
    for item in content[name]:
        if not field.accepts(item):
            raise ValueError(f"{name} has {_shown(item)} in it; expected {field.expected}")
    return tuple(content[name])


def names(content: Mapping[str, Any], name: str, least: int = 2) -> tuple[str, ...]:
    """Distinct printable names, `least` or more."""
    texts = items(content, name, TEXT)
    if not least <= len(texts) <= MOST_CLASSES:
        raise ValueError(f"{name} has {len(texts)} names; expected {least} to {MOST_CLASSES:,}")
    if len(set(texts)) < len(texts):
        raise ValueError(f"{name} has the same name twice")
    for text in texts:
        if not text or len(text) > MOST_NAME or printable(text) != text:
            raise ValueError(f"{name} has {_shown(text)} in it; expected a printable name")
    return texts


def places(content: Mapping[str, Any], name: str) -> tuple[tuple[str, int], ...]:
    """Pairs of the name of a layer and a grid."""
    if not isinstance(content[name], list) or not 1 <= len(content[name]) <= MOST_PLACES:
        raise _wrong(name, content[name], f"a list of 1 to {MOST_PLACES} pairs of layer and grid")
    for pair in content[name]:
        is_pair = isinstance(pair, list) and len(pair) == 2
        if not is_pair or not TEXT.accepts(pair[0]) or not GRID.accepts(pair[1]):
            raise ValueError(
                f"{name} has {_shown(pair)} in it; expected a layer and {GRID.expected}"
            )
    return tuple((layer, grid) for layer, grid in content[name])


def below(count: int) -> Int:
    """A position in a list of `count`."""
    return Int("position", 0, "position in a list", 0, count - 1)


def config(content: Mapping[str, Any], fields: Mapping[str, Field]) -> Mapping[str, Any]:
    """A config, whose known fields have values that they accept. It may lack some.

    Fields that another version has are left alone.
    """
    settings = mapping(content, "config")
    for group, inner in settings.items():
        if isinstance(inner, Mapping) and any(isinstance(v, Mapping) for v in inner.values()):
            raise _wrong(f"config.{group}", inner, "no deeper nesting")
    try:
        by_name = flatten(ConfigDict(settings))
    except Exception as error:  # A ConfigDict refuses some names of fields, with several types.
        raise ValueError(f"its config is of something else ({one_line(error)})") from None
    for name, given in by_name.items():
        if name in fields and not fields[name].accepts(given):
            raise _wrong(f"config.{name}", given, fields[name].expected)
    return settings


def _wrong(name: str, given: Any, expected: str) -> ValueError:
    return ValueError(f"{name} is {_shown(given)}; expected {expected}")


def _shown(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
