"""Imports packages that only exports need, and keeps them quiet."""

import contextlib
import importlib
import logging
from collections.abc import Iterator
from typing import Any

from cifsel.errors import UserError
from cifsel.runtime import silence


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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drops what the packages log and warn of their own inner doings."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with silence.no_warnings():
            yield
    finally:
        logging.disable(level)
