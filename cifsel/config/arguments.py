"""The argument parser of commands that take no config, and how it reads paths."""

import argparse
import re
import sys
import textwrap
from pathlib import Path
from typing import NoReturn

from cifsel.config.similar import did_you_mean
from cifsel.errors import ExitCode
from cifsel.runtime import terminal, typed
from cifsel.runtime.paths import expanded


def path(given: str) -> str:
    """Type of arguments that are paths of this machine or on gs://, with '~' expanded.

    A shell expands no '~' after '=', as in --output=~/comparison.
    """
    return expanded(given)


def local_path(given: str) -> Path:
    """Type of arguments that are paths of this machine, with '~' expanded."""
    return Path(expanded(given))


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help that fits the terminal, and breaks lines between words only."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=terminal.help_width())

    def _split_lines(self, text: str, width: int) -> list[str]:
        # argparse would break after hyphens.
        return textwrap.wrap(
            " ".join(text.split()), width, break_long_words=False, break_on_hyphens=False
        )


class Parser(argparse.ArgumentParser):
    """Parses the command line. --help shows the docstring, in lines that fit the terminal."""

    def __init__(self, name: str, doc: str | None, epilog: str = "") -> None:
        terminal.set_up()  # --help and mistakes come before the command starts.
        super().__init__(
            prog=typed.words(name),
            description=fitted(typed.as_typed(doc or ""), terminal.help_width()),
            epilog=epilog,
            formatter_class=_Formatter,
        )

    def add_checkpoint(self, *, required: bool = True, more: str = "") -> None:
        """Adds --checkpoint, the model of a command that uses one.

        Args:
          required: whether the command cannot do without it.
          more: is said of it beside what it may be.
        """
        words = f"workdir of a run, a comparison, or a model file{more}"
        self.add_argument("--checkpoint", required=required, type=path, metavar="PATH", help=words)

    def error(self, message: str) -> NoReturn:
        """Prints one line about wrong arguments, and ends the process."""
        terminal.error(f"{message}{self._hint(message)} ({self.prog} --help)")
        sys.exit(ExitCode.BAD_INPUT)

    def _hint(self, message: str) -> str:
        """' (did you mean --output?)' for a mistyped flag or choice. '' for other mistakes."""
        known = list(self._option_string_actions)
        if re.match("unrecognized arguments|the following arguments are required", message):
            given = [word.partition("=")[0] for word in sys.argv[1:] if word.startswith("--")]
            hints = [did_you_mean(word, known) for word in given if word not in (*known, "--")]
            return "".join(hints[:1])
        if wrong := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message):
            return did_you_mean(wrong[1], re.split(r"'?, '?", wrong[2].strip("'")))
        return ""


def fitted(doc: str, width: int) -> str:
    """A docstring in lines of at most `width` characters, broken between words only.

    Lines that are indented are commands, which go on after a backslash.
    """
    blocks = []
    for block in doc.strip("\n").split("\n\n"):
        lines = block.split("\n")
        if any(line.startswith("  ") for line in lines):
            blocks.append("\n".join(_command(line, width) for line in lines))
        else:
            blocks.append(_wrapped(block, width, ""))
    return "\n\n".join(blocks)


def _command(line: str, width: int) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    if len(line) <= width:
        return line
    parts = _wrapped(line.strip(), width - 2, indent, indent + "    ").split("\n")
    return " \\\n".join(parts)


def _wrapped(text: str, width: int, indent: str, later: str | None = None) -> str:
    return textwrap.fill(
        " ".join(text.split()),
        width,
        initial_indent=indent,
        subsequent_indent=indent if later is None else later,
        break_long_words=False,
        break_on_hyphens=False,
    )
