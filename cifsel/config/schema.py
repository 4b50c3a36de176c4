"""A config's fields as data: name, default, help, and the values that each accepts.

`task1.py`, `selfie.py` and `quickstart.py` list the fields with these classes. Default configs,
validation and --help derive from the lists. Nothing here imports JAX, so all three are quick.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, TypeGuard

from ml_collections import ConfigDict, config_dict

from cifsel.runtime import paths


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of a config.

    Attributes:
      name: as on the command line after `--config.`, with a dot inside a nested config.
      default: value in `Schema.defaults`. None for a text that is not set.
      help: meaning and unit, without a full stop at the end.
      changes_result: False if a stopped run may go on with another value of it.
      changes_report: True if a finished run, given again with another value, makes its report anew.
    """

    name: str
    default: Any
    help: str
    changes_result: bool = dataclasses.field(default=True, kw_only=True)
    changes_report: bool = dataclasses.field(default=False, kw_only=True)

    @property
    def expected(self) -> str:
        """The accepted values in words, for error messages and --help."""
        raise NotImplementedError

    @property
    def suggested(self) -> tuple[str, ...]:
        """Values that a mistyped one may have meant."""
        return ()

    def accepts(self, value: object) -> bool:
        """Whether the value has the right type and is in range."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Bool(Field):
    """A switch."""

    @property
    def expected(self) -> str:
        """The values in words."""
        return "True or False"

    @property
    def suggested(self) -> tuple[str, ...]:
        """Values that a mistyped one may have meant."""
        return ("True", "False")

    def accepts(self, value: object) -> bool:
        """Whether this is a bool."""
        return isinstance(value, bool)


@dataclasses.dataclass(frozen=True)
class Text(Field):
    """Any text. Where the default is None, the field may also stay unset."""

    @property
    def expected(self) -> str:
        """The type in words."""
        return "str or None" if self.default is None else "str"

    def accepts(self, value: object) -> bool:
        """Whether this is a text, or None where the field may stay unset."""
        return isinstance(value, str) or (value is None and self.default is None)


@dataclasses.dataclass(frozen=True)
class Place(Text):
    """A path of this machine or on gs://, or a word such as 'imagenet' that stands for one.

    Attributes:
      several: the text may be several paths with commas between them.
    """

    several: bool = dataclasses.field(default=False, kw_only=True)

    def expanded(self, value: str) -> str:
        """The value with the home folder in the place of each '~'."""
        parts = value.split(",") if self.several else [value]
        return ",".join(map(paths.expanded, parts))


@dataclasses.dataclass(frozen=True)
class Choice(Field):
    """One value of a list, all of the default's type."""

    choices: tuple[str, ...] | tuple[int, ...]

    @property
    def expected(self) -> str:
        """The choices in words."""
        return f"one of {', '.join(map(str, self.choices))}"

    @property
    def suggested(self) -> tuple[str, ...]:
        """Values that a mistyped one may have meant."""
        return tuple(map(str, self.choices))

    def accepts(self, value: object) -> bool:
        """Whether this is among the choices. True does not count as 1."""
        return type(value) is type(self.default) and value in self.choices


@dataclasses.dataclass(frozen=True)
class Choices(Field):
    """One or more values of a list of texts."""

    choices: tuple[str, ...]

    @property
    def expected(self) -> str:
        """The choices in words."""
        return f"one or more of {', '.join(self.choices)}"

    @property
    def suggested(self) -> tuple[str, ...]:
        """Values that a mistyped one may have meant."""
        return tuple(map(str, self.choices))

    def accepts(self, value: object) -> bool:
        """Whether this is a tuple or list of choices, and not empty."""
        return _is_sequence(value) and all(item in self.choices for item in value)


@dataclasses.dataclass(frozen=True)
class Int(Field):
    """A whole number.

    Attributes:
      least: smallest value.
      most: largest value.
      zero: meaning of 0 where 0 is allowed below `least`, else ''.
    """

    least: int
    most: int
    zero: str = ""

    @property
    def expected(self) -> str:
        """Type and range in words."""
        zero = f"0 for {self.zero} or " if self.zero else ""
        return f"int, {zero}{self.least} to {self.most}"

    def accepts(self, value: object) -> bool:
        """Whether this is an int in the range. A bool or a float is not."""
        return _is_int(value) and (
            self.least <= value <= self.most or (value == 0 and bool(self.zero))
        )


@dataclasses.dataclass(frozen=True)
class Float(Field):
    """A real number.

    Attributes:
      least: smallest value.
      most: largest value.
      exclude: the end of the range that is itself not allowed.
    """

    least: float
    most: float
    exclude: float | None = None

    @property
    def expected(self) -> str:
        """Type and range in words."""
        if self.exclude is None:
            return f"float, {self.least:g} to {self.most:g}"
        if self.exclude == self.least:
            return f"float, above {self.least:g} and at most {self.most:g}"
        return f"float, at least {self.least:g} and below {self.most:g}"

    def accepts(self, value: object) -> bool:
        """Whether this is an int or float in the range. A bool, NaN or infinity is not."""
        return _is_number(value) and self.least <= value <= self.most and value != self.exclude


@dataclasses.dataclass(frozen=True)
class Numbers(Field):
    """One or more numbers, whole ones where `least` is whole."""

    least: float
    most: float

    @property
    def expected(self) -> str:
        """Type and range in words."""
        kind = "ints" if _is_int(self.least) else "floats"
        return f"tuple of one or more {kind}, {self.least:g} to {self.most:g}"

    def accepts(self, value: object) -> bool:
        """Whether this is a tuple or list of numbers in the range, and not empty."""
        is_right = _is_int if _is_int(self.least) else _is_number
        return _is_sequence(value) and all(
            is_right(item) and self.least <= item <= self.most for item in value
        )


@dataclasses.dataclass(frozen=True)
class Schema:
    """All fields of a config, in the order in which people read them, under headings."""

    sections: Mapping[str, tuple[Field, ...]]

    @functools.cached_property
    def fields(self) -> dict[str, Field]:
        """The fields by name, in order."""
        return {field.name: field for section in self.sections.values() for field in section}

    def defaults(self) -> ConfigDict:
        """A new config with the default of every field."""
        config = ConfigDict()
        for field in self.fields.values():
            *groups, name = field.name.split(".")
            owner = config
            for group in groups:
                if group not in owner:
                    owner[group] = ConfigDict()
                owner = owner[group]
            # ConfigDict would accept any type in the place of a plain None.
            owner[name] = config_dict.placeholder(str) if field.default is None else field.default
        return config


def nested(schema: Schema, group: str) -> tuple[Field, ...]:
    """The fields of a schema as a section of a larger one, each as `group.name`."""
    return tuple(
        dataclasses.replace(field, name=f"{group}.{field.name}") for field in schema.fields.values()
    )


def flatten(config: ConfigDict) -> dict[str, Any]:
    """All values of a config by the name of the field, with dots inside nested configs."""
    by_name: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            by_name |= {f"{name}.{inner}": content for inner, content in flatten(value).items()}
        else:
            by_name[name] = value
    return by_name


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_sequence(value: object) -> TypeGuard[tuple | list]:
    """Whether this is a tuple or list with something in it."""
    return isinstance(value, tuple | list) and len(value) > 0
