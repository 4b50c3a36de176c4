"""--help of every command fits a screen and tells a stranger enough; wrong flags get one line."""

import importlib
import json
import os
import re
import subprocess
import sys

import pytest
from paths import REPO

from cifsel.config import QUICKSTART, SELFIE, TASK1, arguments, flatten, help
from configs import effnet, quickstart, selfie

COMMANDS = (
    "cifsel.compare",
    "cifsel.predict",
    "experiments.ablation",
    "experiments.robustness.crash_matrix",
    "experiments.bench",
    "experiments.bench.growth",
    "experiments.robustness.draw_folder",
    "experiments.robustness.fuzz",
    "experiments.bench.own_data",
    "experiments.bench.plot_speed",
    "experiments.own_images",
    "experiments.plot_task1",
    "experiments.resolution",
    "experiments.tables",
    "experiments.bench.scaling",
    "experiments.task1",
    "experiments.bench.time_to_result",
    "experiments.tpu.preflight",
)
# The arguments that each command requires.
REQUIRED = {
    "cifsel.compare": ("RUN", "--output"),
    "cifsel.predict": ("PHOTO",),
    "experiments.ablation": ("--workdir",),
    "experiments.bench.growth": ("--json",),
    "experiments.robustness.draw_folder": ("--output",),
    "experiments.bench.own_data": ("--data", "--json"),
    "experiments.own_images": ("--workdir",),
    "experiments.resolution": ("RUN", "PIXELS"),
    "experiments.bench.scaling": ("--json",),
    "experiments.task1": ("--workdir",),
}
SCREEN = 30  # lines
# As `python -m` does, and then whether JAX was imported.
RUN = """
import runpy, sys
try:
    runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)
except SystemExit as done:
    print("status", done.code, "jax" in sys.modules)
"""


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """A terminal that leaves the docstrings as they are."""
    monkeypatch.setenv("COLUMNS", "100")


def run(name, *arguments):
    return subprocess.run(
        [sys.executable, "-c", RUN.replace("sys.argv[1]", repr(name)), *arguments],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


def call(name, monkeypatch, *arguments):
    """Calls the command in this process; returns its exit status."""
    package = importlib.util.find_spec(name).submodule_search_locations
    module = importlib.import_module(f"{name}.__main__" if package else name)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as done:
        module.main()
    return done.value.code


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_screen_and_gives_an_example(name, monkeypatch, capsys):
    assert call(name, monkeypatch, "--help") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"usage: python -m {name} [-h]")
    assert f"python -m {name}" in out.partition("\n\n")[2]
    assert out.count("\n") <= SCREEN
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize("name", REQUIRED)
def test_what_is_missing_is_one_line(name, monkeypatch, capsys):
    assert call(name, monkeypatch) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.endswith(f" (python -m {name} --help)\n")
    assert err.count("\n") == 1
    for word in REQUIRED[name]:
        assert word in err


@pytest.mark.process
def test_help_of_the_main_command_does_not_wait_for_jax():
    said = run("cifsel.main", "--help").stdout
    assert said.startswith(
        "usage: python -m cifsel.main [-h] [--config CONFIG] [--workdir WORKDIR]"
    )
    assert "--config=configs/quickstart.py" in said
    assert said.endswith("status 0 False\n")
    assert said.count("\n") <= SCREEN


@pytest.mark.process
def test_help_beside_a_config_lists_its_fields():
    flags = ("--config=configs/effnet.py:probe", "--config.image_size=96", "--help")
    said = run("cifsel.main", *flags).stdout
    assert "fields of configs/effnet.py:probe" in said
    assert "\nModel\n" in said
    assert " image_size = 96   " in said
    assert " method = 'probe'  " in said
    assert "images per step [int, 1 to 65536]" in said
    assert said.endswith("status 0 False\n")
    wrong = run("cifsel.main", "--config=configs/effnet.py:probes", "--help")
    assert wrong.stderr.startswith("error: configs/effnet.py has no recipe 'probes'")


@pytest.mark.process
@pytest.mark.slow
def test_help_of_preflight():
    said = run("cifsel.preflight", "--help").stdout
    assert said.startswith("usage: python -m cifsel.preflight [-h]")
    assert "--topology" in said
    assert "--config" in said


def listed(config, schema):
    """The lines of the list that name a field, without the headings and the rest of the help."""
    lines = help.field_list(schema, flatten(config)).splitlines()
    assert max(map(len, lines)) <= 100
    return [line.strip() for line in lines if re.match(r"  \S", line)]


def test_every_field_is_listed_in_the_order_of_the_schema():
    for config, schema in (
        (effnet.get_config(), TASK1),
        (selfie.get_config(), SELFIE),
        (quickstart.get_config(), QUICKSTART),
    ):
        assert [line.split()[0] for line in listed(config, schema)] == list(schema.fields)


def test_a_field_is_listed_with_value_help_and_what_it_accepts():
    lines = listed(effnet.get_config(), TASK1)
    assert (
        "epochs = 6                          passes over the training images [int, 1 to 10000]"
        in (lines)
    )


def test_a_field_that_the_config_lacks_has_its_default():
    config = effnet.get_config()
    del config["epochs"]
    assert any(line.startswith("epochs = 10  ") for line in listed(config, TASK1))


# Modules of extras, which --help must not need, and TensorFlow, for which it must not wait.
EXTRAS = ("cv2", "gcsfs", "keras", "libtpu", "pillow_heif", "timm", "torch")
EVERY_HELP = """
import builtins, contextlib, io, json, runpy, sys
missing, as_before = sys.argv.pop().split(","), builtins.__import__
def without_extras(name, *rest, **more):
    if name.partition(".")[0] in missing:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return as_before(name, *rest, **more)
builtins.__import__ = without_extras
from cifsel.runtime import typed
said = {}
for name in sys.argv[1:]:
    typed.start("", {})  # as in a process of its own
    sys.argv = [name, "--help"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    said[name] = out.getvalue()
print(json.dumps(said))
"""


@pytest.mark.process
@pytest.mark.slow
def test_every_help_fits_a_narrow_terminal_and_needs_no_extra():
    files = [*(REPO / "cifsel").rglob("*.py"), *(REPO / "experiments").rglob("*.py")]
    names = {
        ".".join(file.relative_to(REPO).with_suffix("").parts).removesuffix(".__main__")
        for file in files
        if "Parser(" in (text := file.read_text()) and '__name__ == "__main__"' in text
    }
    assert len(names) > 15
    done = subprocess.run(
        [sys.executable, "-c", EVERY_HELP, *sorted(names), ",".join(EXTRAS)],
        cwd=REPO,
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    said = json.loads(done.stdout)
    assert said.keys() == names
    for name, text in said.items():
        assert text.startswith(f"usage: python -m {name} "), name
        assert max(map(len, text.splitlines())) <= 80, name


# As `python -m MODULE --help` does, for each module in a fork that need not import the libraries.
EACH_IN_A_FORK = """
import contextlib, io, json, os, runpy, sys
import flax, jax, optax, orbax.checkpoint
for name in sys.argv[1:]:
    if os.fork():
        os.wait()
        continue
    sys.argv = [name, "--help"]
    status, out, err = None, io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        except SystemExit as done:
            status = done.code
    print(json.dumps([name, status, out.getvalue(), err.getvalue()]), flush=True)
    os._exit(0)
"""


@pytest.mark.process
@pytest.mark.slow
def test_modules_that_are_no_commands_name_those_that_are():
    names = ["cifsel.build", "cifsel.sweep", "cifsel.task1"]
    done = subprocess.run(
        [sys.executable, "-c", EACH_IN_A_FORK, *names],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [name for name, *_ in answers] == names
    for name, status, out, err in answers:
        assert (status, out) == (2, "")
        assert err.startswith(f"error: {name} is no command: give python -m cifsel.main")
        assert err.count("\n") == 1


@pytest.mark.parametrize("width", [40, 80, 100])
def test_a_docstring_fits_and_commands_go_on_after_a_backslash(width):
    command = "    python -m cifsel.predict --checkpoint=/tmp/selfie photo.jpg more_photos/ --json"
    lines = arguments.fitted(f"Says. {'word-with-hyphens ' * 20}\n\n{command}\n", width).split("\n")
    assert all(len(line) <= width for line in lines)
    joined = " ".join(" ".join(lines).replace("\\", "").split())
    assert joined == " ".join(f"Says. {'word-with-hyphens ' * 20} {command}".split())
    shown = [line for line in lines if line.startswith("    ")]
    assert [line.endswith(" \\") for line in shown] == [True] * (len(shown) - 1) + [False]
