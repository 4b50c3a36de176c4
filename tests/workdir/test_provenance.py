"""A run on a machine that lacks much of what one is used to, in a folder with an odd name."""

import json
import os
import subprocess
import sys

import pytest
from paths import REPO

pytestmark = pytest.mark.process

ON_ONE = """
import os, runpy
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
runpy.run_module("cifsel.main", run_name="__main__")
"""
COMMAND = (
    "--config=configs/quickstart.py --config.task=task1"
    " --config.model=efficientnetv2-mini --config.epochs=1 --config.train_examples=100"
    " --config.test_examples=50"
)


@pytest.mark.parametrize("home", [None, "/proc/none"], ids=["no home", "home not writable"])
def test_bare_machine(home, tmp_path):
    """No display, no user's settings, one processor."""
    odd = tmp_path / "Grüße aus 東京, 'so'"
    odd.mkdir()
    (odd / "code").symlink_to(REPO)
    environment = {"PATH": os.environ["PATH"], "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    if home:
        environment["HOME"] = home
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
