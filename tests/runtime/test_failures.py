"""Failures of the machine are one line and an exit status; a defect keeps its traceback."""

import errno
import gc
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from paths import REPO

from cifsel.errors import UserError
from cifsel.runtime import command
from cifsel.runtime.signals import Interrupted


def failing(error):
    def run():
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (UserError("config.x is 3"), 2, "config.x is 3"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/run/a.png"),
            2,
            "/run/a.png: No space left on device: make room there, or make the folder writable",
        ),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), 2, "Read-only file system: make room"),
        (RuntimeError("RESOURCE_EXHAUSTED: 9 GB"), 2, "out of memory (RESOURCE_EXHAUSTED: 9 GB)"),
        (RuntimeError("Gloo AllGather failed: Timeout"), 75, "the processes lost each other (Gloo"),
        (MemoryError("Unable to allocate 9 GiB"), 2, "config.accum_steps"),
    ],
)
def test_one_line_and_an_exit_status(error, status, words, capsys):
    with pytest.raises(SystemExit) as ended:
        command.guarded(failing(error))
    assert ended.value.code == status
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("stopped", "status"),
    [
        (Interrupted(signal.SIGTERM), 75),
        (Interrupted(signal.SIGINT), 130),
        (KeyboardInterrupt(), 130),
    ],
)
def test_stopped_is_no_failure(stopped, status, capsys):
    with pytest.raises(SystemExit) as ended:
        command.guarded(failing(stopped))
    assert ended.value.code == status
    out, err = capsys.readouterr()
    assert (out, err) == ("stopped; the same command goes on from here\n", "")


def test_what_gs_says_in_the_end_is_worth_another_try(capsys):
    aiohttp = pytest.importorskip("aiohttp", reason="comes with gcsfs, which raises its errors")
    try:
        try:
            raise aiohttp.ClientConnectionError("Cannot connect to host")
        except aiohttp.ClientConnectionError as cause:
            raise ValueError("no metadata") from cause
    except ValueError as error:
        lost = error
    with pytest.raises(SystemExit) as ended:
        command.guarded(failing(lost))
    assert ended.value.code == 75
    assert "gs:// cannot be reached any more (Cannot connect to host)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "defect", [KeyError("x"), OSError(errno.ENOENT, "gone", "x"), np.exceptions.AxisError("x")]
)
def test_defects_keep_their_traceback(defect):
    with pytest.raises(type(defect)):
        command.guarded(failing(defect))


HANGS = """
import threading, time
from cifsel.runtime import command
from cifsel.errors import UserError

def run():
    threading.Thread(target=time.sleep, args=(100,)).start()
    raise UserError("no room")

command._PATIENCE = 0.5
command.start()
command.guarded(run)
"""


def script(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.process
def test_a_thread_that_never_ends_does_not_keep_a_command():
    done = script(HANGS)
    assert done.returncode == 2
    assert done.stderr == "error: no room\n"


WARNS = """
import logging
from absl import logging as absl_logging
from cifsel.runtime import command

command.start()
logging.getLogger("cifsel.x").warning("odd file")
absl_logging.warning("no summaries")
logging.getLogger("cifsel.x").warning("odd file")
"""


@pytest.mark.process
def test_a_command_looks_for_garbage_less_often(monkeypatch):
    for part in (command.libtpu, command.memory, command.cache, command.compiling):
        for name in ("quiet", "keep_freed", "keep_compiled", "announce"):
            monkeypatch.setattr(part, name, lambda: None, raising=False)
    monkeypatch.setattr(command, "start_terminal", lambda: None)
    thresholds = gc.get_threshold()
    try:
        gc.set_threshold(700, 10, 10)  # Python's own.
        command.start()
        assert gc.get_threshold()[0] > 10_000
    finally:
        gc.set_threshold(*thresholds)


def test_warnings_are_said_as_they_are():
    assert script(WARNS).stderr == "odd file\nno summaries\nodd file\n"


CLEARS_AWAY = """
import os, signal, time
from cifsel.runtime import command

class Cleared:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

def run():
    Cleared()
    time.sleep(60)

signal.signal(signal.SIGINT, signal.default_int_handler)
command.start()
command.guarded(run)
"""


@pytest.mark.process
def test_ctrl_c_is_heard_where_no_exception_gets_out():
    done = script(CLEARS_AWAY)
    assert done.returncode == 130
    assert (done.stdout, done.stderr) == ("stopped; the same command goes on from here\n", "")


UNWRITABLE = """
import sys
from cifsel.runtime import command
from cifsel.workdir import summaries

def run():
    with summaries.open_writer(sys.argv[1]) as writer:
        writer.write_scalars(1, {"loss": 1.0})

command.start()
command.guarded(run)
"""


@pytest.mark.process
@pytest.mark.slow
def test_summaries_that_cannot_be_written_are_one_line(tmp_path):
    (tmp_path / "run").write_text("not a folder")
    done = script(UNWRITABLE, tmp_path / "run")
    assert done.returncode == 2
    # TensorFlow's own code says a line or two before.
    assert done.stderr.splitlines()[-1].startswith(
        "error: summaries could not be written (Not a directory): make room there"
    )
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.process
@pytest.mark.slow
def test_devices_that_are_not_there(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "cifsel.main",
            "--config=configs/effnet.py",
            f"--workdir={tmp_path}",
        ],
        cwd=REPO,
        env=os.environ | {"JAX_PLATFORMS": "cuda"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: JAX cannot use its devices (")
    assert "JAX_PLATFORMS is 'cuda'" in last
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
