"""The words that started the work: `cifsel train`, `python -m cifsel.main`, or a call in Python.

Messages, --help and records name a command as its user typed it.
"""

import contextlib
import re
import shlex
import sys
from collections.abc import Iterator, Mapping


class _State:
    """How this process was started.

    Attributes:
      program: 'cifsel' or 'python -m cifsel'. '' where the module of a command was run.
      names: of the commands of that program, by module.
      call: the call of Python that is at work. '' for none.
    """

    def __init__(self) -> None:
        self.program, self.call = "", ""
        self.names: Mapping[str, str] = {}


_state = _State()


def start(program: str, names: Mapping[str, str]) -> None:
    """Says that one program with sub-commands was typed.

    Args:
      program: 'cifsel' or 'python -m cifsel'.
      names: of its sub-commands, by the module that does each.
    """
    _state.program, _state.names = program, names


def words(module: str) -> str:
    """The words of a command, such as 'cifsel train' for 'cifsel.main'."""
    if _state.program and (module == "cifsel" or module in _state.names):
        return f"{_state.program} {_state.names.get(module, '')}".rstrip()
    return f"python -m {module}"


def as_typed(text: str) -> str:
    """Puts the typed words in the place of `python -m cifsel.NAME` in a text.

    The program with sub-commands may run in any folder. So config files lose the folder `configs`.
    """
    if not _state.program:
        return text
    text = re.sub(r"python -m (cifsel(?:\.\w+)?)\b", lambda match: words(match[1]), text)
    return re.sub(r"--config=configs/(?=\w+\.py)", "--config=", text)


@contextlib.contextmanager
def called(call: str) -> Iterator[None]:
    """Records of the block name this call of Python, not the command line of the process."""
    before, _state.call = _state.call, call
    try:
        yield
    finally:
        _state.call = before


def command() -> str:
    """The command line as typed, such as 'python -m cifsel.main --config=...', or the call."""
    if _state.call:
        return _state.call
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    started = words(spec.name) if spec else shlex.join(["python", *sys.argv[:1]])
    return f"{started} {shlex.join(sys.argv[1:])}".rstrip()
