"""On macOS and Windows every command can be imported, and what is made for Linux does nothing."""

import ast
import sys

import pytest
from paths import REPO

from cifsel.runtime import memory

# Modules of the standard library that Windows does not have.
POSIX = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_nothing_is_imported_that_windows_does_not_have():
    files = sorted((REPO / "cifsel").rglob("*.py"))
    assert len(files) > 100
    for file in files:
        names = set(imported(ast.parse(file.read_text())))
        assert not names & POSIX, file


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_memory_is_left_to_other_systems(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("_taken", "_available"):
        monkeypatch.setattr(memory, name, lambda: pytest.fail("asks what only Linux can say"))
    memory.keep_freed()
    memory.release_when_short()
