"""Config files: Python files with a function get_config."""

import importlib.machinery
import types
from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from cifsel.config.validation import did_you_mean
from cifsel.errors import UserError, one_line


def check_file(argument: str) -> None:
    """Checks that a config file is there.

    Args:
      argument: value of --config: a path, which a colon and a recipe may follow.

    Raises:
      UserError: there is no such file.
    """
    path = Path(argument.partition(":")[0])
    if not path.is_file():
        problem = "not a file" if path.exists() else "No such file"
        hint = did_you_mean(path.stem, [str(file) for file in _configs()])
        raise UserError(f"--config cannot be read: {problem}: {str(path)!r}{hint}")


def _configs() -> Iterator[Path]:
    """Yields the config files in the folder configs/ of the current one."""
    yield from (path for path in sorted(Path("configs").glob("[!_]*.py")) if path.stem != "common")


def load(argument: str) -> ConfigDict:
    """Runs a config file.

    Args:
      argument: value of --config: a path, which a colon and a recipe may follow.

    Raises:
      UserError: the file cannot be run, or its get_config() does not return a config.
    """
    check_file(argument)
    path, _, recipe = argument.partition(":")
    module = types.ModuleType("config")
    module.__file__ = path
    try:
        importlib.machinery.SourceFileLoader(module.__name__, path).exec_module(module)
        if not hasattr(module, "get_config"):
            raise ValueError(f"{path} has no function get_config")
        config = module.get_config(*([recipe] if recipe else []))
    except Exception as error:
        text = one_line(error)
        # A message that names the file, such as that of an unknown recipe, is enough by itself.
        if not isinstance(error, ValueError) or path not in text:
            text = f"--config={path} fails ({type(error).__name__}: {text})"
        raise UserError(text) from error
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"get_config of {path} returns {type(config).__name__}; expected a ConfigDict"
        )
    return config
