"""The one program `cifsel`: its sub-commands are the commands, under the name that was typed."""

import subprocess
import sys
from importlib import metadata

import pytest
from paths import REPO

from cifsel import __main__ as program
from cifsel.errors import ExitCode
from cifsel.runtime import terminal, typed
from cifsel.workdir import provenance


@pytest.fixture(autouse=True)
def as_before():
    """The words of one test's program are gone in the next."""
    yield
    typed.start("", {})


def call(monkeypatch, *words, name="cifsel"):
    """Calls the program; returns its exit status.

    As in a new process, in which no command has been imported. The modules are not compiled for
    other processes, as here they check types.
    """
    for command in program.COMMANDS.values():
        is_package = hasattr(sys.modules.get(command.module), "__path__")
        module = f"{command.module}.__main__" if is_package else command.module
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(program.starting, "end_quietly", lambda: None)
    monkeypatch.setattr(sys, "argv", ["cifsel", *words])
    try:
        program.main(name)
    except SystemExit as done:
        return done.code
    return 0


# Each command line in turn, and the packages that it has imported, each on a line of its own.
IMPORTED = """
import sys
before = set(sys.modules)  # What an editable install imports at the start of Python is not ours.
from cifsel import __main__ as program
for line in sys.argv[1:]:
    sys.argv = ["cifsel", *line.split()]
    try:
        program.main()
    except SystemExit:
        pass
    print("imported", *sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""
# By how long they take. Modules of Python itself, libraries that a config needs, and all others.
SLOW = {"argparse", "email", "pathlib", "textwrap", "zipfile"}
SLOWER = {"absl", "ml_collections", "yaml", "rich"}
SLOWEST = {"etils", "flax", "gradio", "jax", "numpy", "optax", "orbax", "PIL", "tensorflow"}


@pytest.mark.process
def test_version_and_help_wait_for_no_library():
    """Numbers of imports, as clocks say little on a machine that does other things too."""
    lines = ["--version", "--help", "predict --help", "compare --help", "export --help"]
    lines += ["web --help", "train --help", "train --config=effnet --help"]
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *lines],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    )
    said = [line for line in done.stdout.splitlines() if line.startswith("imported ")]
    imported = dict(zip(lines, map(set, map(str.split, said)), strict=True))
    assert "cifsel" in imported["--version"]
    assert not imported["--version"] & (SLOW | SLOWER | SLOWEST)
    assert not imported["web --help"] & (SLOWER | SLOWEST)
    assert not imported["train --config=effnet --help"] & SLOWEST - {"etils"}
    assert not imported["train --help"] & {*SLOWEST, "rich"}
    assert "usage: cifsel [-h] [--version] [COMMAND]\n" in done.stdout


@pytest.mark.process
def test_the_version_is_that_of_the_metadata():
    words = [sys.executable, "-m", "cifsel", "--version"]
    said = subprocess.run(words, cwd=REPO, capture_output=True, text=True, check=True).stdout
    expected = [f"{name} {metadata.version(name)}" for name in ("cifsel", "jax")]
    assert said == f"{', '.join(expected)}\n"
    assert program._version("no-such-package") == "(not installed)"


def test_help_names_every_command(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    assert call(monkeypatch, "--help", name="python -m cifsel") == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: python -m cifsel [-h]")
    for name, command in program.COMMANDS.items():
        assert f"  {name:<9}  {command.summary}\n" in out
    assert out.count("\n") <= 30
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize("name", ["predict", "compare"])
def test_sub_commands_are_the_commands_under_the_typed_name(monkeypatch, capsys, name):
    monkeypatch.setenv("COLUMNS", "100")
    assert call(monkeypatch, name, "--help") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: cifsel {name} [-h]")
    assert f"    cifsel {name} " in out
    assert "python -m" not in out
    assert call(monkeypatch, name) == ExitCode.BAD_INPUT
    assert f"(cifsel {name} --help)" in capsys.readouterr().err


def test_export_is_dispatched_like_the_others(monkeypatch, capsys):
    pytest.importorskip("cifsel.export")
    assert call(monkeypatch, "export", "--help") == 0
    assert capsys.readouterr().out.startswith("usage: cifsel export [-h]")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian"], "(did you mean train?) (cifsel --help)\n"),
        ([], "one of the commands train, predict, compare, export, web, preflight (cifsel --h"),
        (["--config=effnet"], "preflight; --config is of cifsel train (cifsel --help)\n"),
        (
            ["train", "--config="],
            "--config is empty; cifsel has effnet (finetune, probe, longer, notebook)",
        ),
        (["train"], "--config is missing: give --config=effnet.py, or another of effnet ("),
        (["train", "--config=effnet:prob"], "effnet has no recipe 'prob' (did you mean probe?)"),
        (["train", "--config=effnet", "--config.epocs=3"], "'epocs' (did you mean epochs?)\n"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")
def test_mistakes_are_one_line(monkeypatch, capsys, words, expected):
    if "train" in words:  # absl's flags are those of a process.
        monkeypatch.setattr(program.runpy, "run_module", lambda *_, **__: parse_of_train())
    assert call(monkeypatch, *words) == ExitCode.BAD_INPUT
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert expected in err


def parse_of_train():
    from cifsel.config import flag

    flag.parse_flags(sys.argv)


def test_messages_and_records_name_what_was_typed(monkeypatch, capsys):
    line = "python -m cifsel.main --config=configs/effnet.py, python -m cifsel.predict, cifsel.main"
    terminal.say(line)
    typed.start("cifsel", {"cifsel.main": "train", "cifsel.predict": "predict"})
    terminal.say(line)
    assert capsys.readouterr().out == (
        f"{line}\ncifsel train --config=effnet.py, cifsel predict, cifsel.main\n"
    )
    assert typed.words("cifsel.main") == "cifsel train"
    assert typed.words("experiments.task1") == "python -m experiments.task1"
    monkeypatch.setattr(sys, "argv", ["cifsel", "--config=configs/mine.py", "a b"])
    spec = type("Spec", (), {"name": "cifsel.main"})
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
    expected = "cifsel train --config=configs/mine.py 'a b'"
    assert typed.command() == provenance.environment().command == expected
    with typed.called("cifsel.train(config)"):
        assert typed.command() == "cifsel.train(config)"
    assert typed.command() == expected
