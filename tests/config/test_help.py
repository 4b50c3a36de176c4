"""--help of every command fits a screen and tells a stranger enough; wrong flags get one line."""

import importlib
import re
import subprocess
import sys

import pytest
from paths import REPO

from cifsel.config import QUICKSTART, SELFIE, TASK1, flatten, help
from configs import effnet, quickstart, selfie

COMMANDS = (
    "cifsel.compare",
    "cifsel.predict",
    "experiments.ablation",
    "experiments.robustness.crash_matrix",
    "experiments.bench",
    "experiments.robustness.fuzz",
    "experiments.bench.plot_speed",
    "experiments.plot_task1",
    "experiments.resolution",
    "experiments.tables",
    "experiments.bench.scaling",
    "experiments.task1",
    "experiments.bench.time_to_result",
    "experiments.tpu.preflight",
)
# What each cannot do without.
REQUIRED = {
    "cifsel.compare": ("RUN", "--output"),
    "cifsel.predict": ("PHOTO", "--checkpoint"),
    "experiments.ablation": ("--workdir",),
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
