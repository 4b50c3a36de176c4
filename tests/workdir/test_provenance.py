"""The provenance of a result, and a run on a bare machine in a folder with an odd name."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys

import jax
import pytest
from paths import REPO

from cifsel.workdir import provenance

# On one processor, with a small network and few images.
ON_ONE = """
import os, runpy, sys
sys.path.append("tests")
import pytest, tiny_run
tiny_run.make_small(pytest.MonkeyPatch())
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
runpy.run_module("cifsel.main", run_name="__main__")
"""
COMMAND = (
    "--config=configs/effnet.py:probe --config.weights=none --config.dataset=drawn"
    " --config.image_size=32"
)


def test_provenance_in_json(monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(sys, "argv", ["train.py", "--workdir=a b"])
    record = provenance.environment().to_json()
    assert json.loads(json.dumps(record)) == record
    assert list(record) == ["versions", "devices", "command", "git_commit", "finished"]
    assert list(record["versions"]) == ["python", *provenance.PACKAGES]
    assert record["versions"]["jax"] == jax.__version__
    assert list(record["devices"]) == ["backend", "kind", "count", "processor", "cores"]
    assert record["devices"]["count"] == jax.device_count()
    assert record["devices"]["processor"]
    assert 1 <= record["devices"]["cores"] <= os.cpu_count()
    assert record["command"] == "python train.py '--workdir=a b'"
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", record["git_commit"])
    assert record["finished"].endswith("+00:00")


def test_what_is_not_there_is_none(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    def no_git(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(importlib.metadata, "version", missing)
    monkeypatch.setattr(subprocess, "run", no_git)
    record = provenance.environment()
    assert record.git_commit is None
    assert {record.versions[name] for name in provenance.PACKAGES} == {None}


@pytest.mark.process
@pytest.mark.slow
def test_bare_machine(tmp_path):
    """No display, no user's settings, a home that cannot be written, one processor."""
    odd = tmp_path / "Grüße aus 東京, 'so'"
    odd.mkdir()
    (odd / "code").symlink_to(REPO)
    environment = {
        "HOME": "/proc/none",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        [sys.executable, "-c", ON_ONE, *COMMAND.split(), f"--workdir={odd / 'run'}"],
        cwd=odd / "code",
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    metrics = json.loads((odd / "run" / "metrics.json").read_text())
    assert metrics["test"]["examples"] == 50
    assert (odd / "run" / "figures" / "confusion_matrix.png").exists()
    assert len(list((odd / "run").glob("events.out.tfevents.*"))) == 1
