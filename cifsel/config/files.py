"""Config files: Python files with a function get_config. Those of cifsel are found by name."""

import importlib.machinery
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from cifsel.config.changes import expand_paths, updated
from cifsel.config.similar import did_you_mean
from cifsel.errors import UserError, one_line
from cifsel.runtime.paths import expanded, is_file

_FOLDER = "configs"


class ConfigFile(NamedTuple):
    """A value of --config.

    Attributes:
      path: of the file.
      recipe: the part after the colon. '' for none.
      shown: the file as it was given, for messages.
    """

    path: str
    recipe: str
    shown: str

    @property
    def argument(self) -> str:
        """Path and recipe, for a flag that knows paths only."""
        return f"{self.path}:{self.recipe}" if self.recipe else self.path


def shipped() -> dict[str, Path]:
    """The config files of cifsel, by the name without its ending.

    They are `cifsel/configs` in an installation, and the folder `configs` in a checkout.
    """
    package = Path(__file__).parents[1]
    folder = package / _FOLDER if (package / _FOLDER).is_dir() else package.parent / _FOLDER
    return {path.stem: path for path in sorted(folder.glob("[!_]*.py"))}


def find(argument: str) -> ConfigFile:
    """Finds the file of a value of --config.

    Args:
      argument: a path, or the name of a file of cifsel, such as 'effnet' or 'effnet.py'. A colon
        and a recipe may follow. A file of this path comes before one of cifsel.

    Raises:
      UserError: there is no such file.
    """
    name, _, recipe = argument.partition(":")
    path = Path(expanded(name))
    if is_file(path):
        return ConfigFile(str(path), recipe, name)
    # The path of a checkout, configs/effnet.py, is good anywhere.
    if str(path.parent) in (".", _FOLDER) and path.suffix in ("", ".py") and path.stem in shipped():
        return ConfigFile(str(shipped()[path.stem]), recipe, name)
    if not name:
        raise UserError(f"--config is empty; cifsel has {listed()}")
    problem = "not a file" if path.exists() else "No such file"
    hint = did_you_mean(path.stem, _near_names())
    raise UserError(f"--config cannot be read: {problem}: {name!r}{hint}; cifsel has {listed()}")


def _near_names() -> list[str]:
    """The config files that a mistyped name may mean, as they can be given."""
    local = [str(path) for path in sorted(Path(_FOLDER).glob("[!_]*.py"))]
    names = [f"{stem}.py" for stem in shipped() if f"{_FOLDER}/{stem}.py" not in local]
    return [name for name in names + local if Path(name).stem != "common"]


def listed() -> str:
    """The config files of cifsel with their recipes, in words."""
    recipes = {stem: getattr(_run(str(path)), "RECIPES", ()) for stem, path in shipped().items()}
    return ", ".join(f"{stem} ({', '.join(names)})" for stem, names in recipes.items() if names)


def load(argument: str) -> ConfigDict:
    """Runs a config file.

    Args:
      argument: value of --config, see `find`.

    Raises:
      UserError: there is no such file, it cannot be run, or its get_config() does not return a
        config.
    """
    path, recipe, shown = find(argument)
    try:
        module = _run(path)
        if not hasattr(module, "get_config"):
            raise ValueError(f"{path} has no function get_config")
        config = module.get_config(*([recipe] if recipe else []))
    except Exception as error:
        text = one_line(error)
        # A message that names the file, such as that of an unknown recipe, is enough by itself.
        if isinstance(error, ValueError) and path in text:
            text = text.replace(path, shown)
        else:
            text = f"--config={shown} fails ({type(error).__name__}: {text})"
        raise UserError(text) from error
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"get_config of {shown} returns {type(config).__name__}; expected a ConfigDict"
        )
    return config


def _run(path: str) -> types.ModuleType:
    """Runs a Python file as a module of its own."""
    module = types.ModuleType("config")
    module.__file__ = path
    importlib.machinery.SourceFileLoader(module.__name__, path).exec_module(module)
    return module


def get_config(name: str, recipe: str = "", /, **changes: Any) -> ConfigDict:
    """Returns the config of a run, for `cifsel.train`.

        config = cifsel.get_config("effnet", "probe", image_size=96, augment={"flip": False})
        config.seed = 1

    Args:
      name: a config file of cifsel, such as 'effnet', or the path of another one. A recipe may
        follow after a colon, as on the command line.
      recipe: the recipe, unless it is part of the name.
      changes: new values by field. Fields of a group are given as a dict.

    Returns:
      A copy, whose fields can be set. A field that there is not is refused with an AttributeError.

    Raises:
      UserError: there is no such file, recipe or field, or a field cannot have that value.
    """
    config = load(f"{name}:{recipe}" if recipe else name)
    config.lock()
    expand_paths(config)
    return updated(config, _flat(changes))


def _flat(changes: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by the name of the field, with dots inside groups."""
    flat: dict[str, Any] = {}
    for name, value in changes.items():
        if isinstance(value, Mapping | ConfigDict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
