"""The fuzzer keeps inputs that fail, and continues."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.process, pytest.mark.slow]

REPO = Path(__file__).parents[2]

# Four readers: one reads everything, the others raise, die, and never end.
CODE = """
import os, sys, time
from experiments.robustness import fuzz, whole_files

def strict(fail):
    return lambda path: path.read_bytes() == b"whole" * 99 or fail()

def files(folder):
    fails = {"sound": bool, "raises": lambda: {}["key"], "dies": os.abort,
             "hangs": lambda: time.sleep(60)}
    made = {name: whole_files.File(folder / name, b"whole" * 99, strict(fail))
            for name, fail in fails.items()}
    for file in made.values():
        file.path.write_bytes(file.content)
    return made

whole_files.files, fuzz.SECONDS = files, 1
fuzz.main()
"""


def run(*arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=REPO,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_wrong_is_kept_and_told(tmp_path):
    done = run("-c", CODE, "--inputs=2", f"--keep={tmp_path / 'kept'}")
    assert done.returncode == 1, done.stderr
    cells = [line.split("│")[1:5] for line in done.stdout.splitlines() if "│" in line]
    rows = {name.strip(): [int(cell) for cell in counts] for name, *counts in cells}
    assert rows["sound"] == [2, 2, 0]
    assert rows["raises"] == rows["dies"] == rows["hangs"] == [2, 0, 0]
    kept = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert kept == [f"{n}-{kind}" for n in range(2) for kind in ("dies", "hangs", "raises")]
    for said in ("raises: KeyError: 'key'", "dies: died: SIGABRT", "hangs: died: SIGALRM"):
        assert done.stderr.count(said) == 2


def test_files_of_every_kind_are_read_or_refused():
    done = run("-m", "experiments.robustness.fuzz", "--inputs=5", "--seed=5")
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^│ [^│]+ │ 5 +│.+│ 0 +│ [\d.]+ +│$", done.stdout, re.M)) == 24
