"""Every command in README, CONTRIBUTING and docs/ can be parsed by the program that it names."""

import argparse
import configparser
import copy
import importlib
import re
import runpy
import sys

import pytest
from absl import flags
from documents import DOCUMENTS, ROOT, Command, commands
from ml_collections import config_flags

from cifsel.__main__ import COMMANDS as SUB_COMMANDS
from cifsel.config import files, flag
from cifsel.config.validation import validate

COMMANDS = sorted({command for document in DOCUMENTS for command in commands(document)})
pytestmark = [
    # ml_collections, when it runs a config file.
    pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning"),
    # runpy, of a command that another test has imported.
    pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning"),
]
# Programs of others, whose flags are not checked.
EXTERNAL = {
    "cd",
    "eval",
    "export",
    "find",
    "gcloud",
    "git",
    "mutmut",
    "mypy",
    "pre-commit",
    "pytest",
    "ruff",
    "sphinx-build",
    "tensorboard",
    "xprof",
}
# These take --config, and so read their flags by absl. Each with the module that defines its flags.
CONFIGURED = {"cifsel.main": "cifsel.main", "cifsel.preflight": "cifsel.preflight.__main__"}


class Parsed(Exception):  # noqa: N818 - not an error
    """The flags of a command were read without complaint."""


@pytest.fixture(autouse=True)
def not_compiled_for_others(monkeypatch):
    """Modules that check types, as all do here, are not kept for processes without that."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def of_python() -> list[Command]:
    return [as_module(command) for command in COMMANDS if command.words[0] in ("python", "cifsel")]


def as_module(command: Command) -> Command:
    """`cifsel train` as `python -m cifsel.main`, which does the same."""
    program, name, *words = command.words
    if program == "cifsel" and name in SUB_COMMANDS:
        return Command(command.document, ("python", "-m", SUB_COMMANDS[name].module, *words))
    return command


def test_version_is_no_sub_command():
    others = {command.words for command in of_python() if command.words[0] == "cifsel"}
    assert others == {("cifsel", "--version")}


def test_the_documents_have_commands():
    assert len(of_python()) > 30
    assert {command.document for command in of_python()} >= {"README.md", "train.md", "selfies.md"}


RUN_BY_PYTHON = [command for command in of_python() if command.words[0] == "python"]


@pytest.mark.parametrize("command", RUN_BY_PYTHON, ids=lambda command: " ".join(command.words[2:]))
def test_python_commands_are_parsed(command, monkeypatch):
    assert command.words[1] == "-m"
    module, arguments = command.words[2], [word for word in command.words[3:] if word != "--help"]
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    if module in CONFIGURED:
        parse_config(CONFIGURED[module])
    else:
        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
        with pytest.raises(Parsed):
            runpy.run_module(module, run_name="__main__", alter_sys=True)


def parse_config(module: str) -> None:
    """Reads sys.argv as the command does, without flags of this process, and checks the config."""
    importlib.import_module(module)
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values)
    for defined in flags.FLAGS.flags_by_module_dict()[module]:
        values[defined.name] = copy.deepcopy(defined)
    argument = next(word for word in sys.argv if word.startswith("--config="))[len("--config=") :]
    sys.argv = flag._with_path(sys.argv, files.find(argument).argument)
    assert values(sys.argv) == sys.argv[:1]
    validate(values["config"].value)


READ_ALL = argparse.ArgumentParser.parse_args


def parse_only(parser, *arguments, **named):
    READ_ALL(parser, *arguments, **named)
    raise Parsed


def test_a_wrong_flag_is_noticed(monkeypatch, capsys):
    words = ["cifsel.main", "--config=configs/effnet.py", "--config.no_such_field=1"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(Exception, match="no_such_field"):
        parse_config("cifsel.main")
    monkeypatch.setattr(sys, "argv", ["cifsel.compare", "RUN", "--output=DIR", "--no-such-flag"])
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    with pytest.raises(SystemExit):
        runpy.run_module("cifsel.compare", run_name="__main__", alter_sys=True)
    assert "no-such-flag" in capsys.readouterr().err


def test_other_commands_name_what_there_is():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = set(setup["options.extras_require"])
    for command in COMMANDS:
        program, *arguments = command.words
        if program == "pip":
            named = re.findall(r"\.\[([\w,-]+)\]", " ".join(arguments))
            assert set(",".join(named).split(",")) - {""} <= extras, command
        elif program.startswith(("./", ".ci/")):
            folders = ROOT, ROOT / "experiments" / "tpu"
            assert any((folder / program).is_file() for folder in folders), command
        else:
            assert program in EXTERNAL | {"python", "cifsel"}, command
