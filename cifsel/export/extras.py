"""Imports packages that only exports need."""

import importlib
from typing import Any

from cifsel.errors import UserError


def load(module: str, extra: str) -> Any:
    """Imports a module of a package that cifsel's extra brings.

    Raises:
      UserError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(
            f"this export needs {error.name}, which is not installed: pip install 'cifsel[{extra}]'"
        ) from None
