"""Ctrl-C: the process ends within seconds, with status 130, and nothing is left behind."""

import importlib
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from paths import REPO

from cifsel.errors import ExitCode
from cifsel.runtime import command, ending, signals


class Ended(Exception):  # noqa: N818 - not an error
    """In the place of the end of the process."""


@pytest.fixture
def state(monkeypatch):
    """A new state, and an end that only raises its code. Nobody sleeps."""

    def end(code):
        raise Ended(code)

    monkeypatch.setattr(ending, "state", ending._State())
    monkeypatch.setattr(ending, "_end", end)
    monkeypatch.setattr(ending.time, "sleep", lambda seconds: None)
    return ending.state


def watched(*numbers):
    """The code with which the watching thread ends the process after these signals, or None."""
    arrives, sends = socket.socketpair()
    with arrives, sends:
        sends.sendall(bytes(numbers))
        sends.shutdown(socket.SHUT_WR)
        try:
            ending._watch(arrives, sends)
        except Ended as ended:
            return ended.args[0]
    return None


def test_a_main_thread_that_hears_nothing_is_ended(state):
    assert watched(signal.SIGCHLD) is None
    assert watched(signal.SIGINT) is ExitCode.INTERRUPTED
    assert watched(signal.SIGTERM) is ExitCode.TRY_AGAIN


def test_a_main_thread_that_does_not_come_to_its_end_is_ended(state):
    with pytest.raises(KeyboardInterrupt):
        ending._interrupt(signal.SIGINT, None)
    ending._interrupt(signal.SIGINT, None)  # The next ones do not disturb it.
    assert watched(signal.SIGINT) is ExitCode.INTERRUPTED


def test_ctrl_c_during_an_import_ends_the_process_at_once(state, tmp_path, monkeypatch):
    """No exception goes through an import, in which compiled modules would mistake it."""
    (tmp_path / "module_with_ctrl_c.py").write_text("import signal; signal.raise_signal(2)")
    monkeypatch.syspath_prepend(tmp_path)
    before = signal.signal(signal.SIGINT, ending._interrupt)
    try:
        with pytest.raises(Ended) as ended:
            importlib.import_module("module_with_ctrl_c")
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.args == (ExitCode.INTERRUPTED,)


def test_a_lost_ctrl_c_is_heard_again(state):
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            ending._interrupt(signal.SIGINT, None)
        ending.hear_again()


def test_a_run_that_saves_has_its_time(state, capsys):
    state.worth_saving = True
    assert watched(signal.SIGINT) is None
    assert capsys.readouterr().out == (
        "SIGINT: saving after this step; again to stop at once, without saving\n"
    )
    assert watched(signal.SIGINT, signal.SIGINT) is ExitCode.INTERRUPTED
    assert capsys.readouterr().out == ""  # Said once.


def test_a_run_that_begins_to_save_at_once_has_its_time(state):
    state.handled[signal.SIGTERM] = 1
    assert watched(signal.SIGTERM) is None


def test_only_a_run_that_did_something_is_worth_saving(state):
    with signals.stop_requests() as stop:
        assert not state.worth_saving
        assert stop() == 0
        assert state.worth_saving
    assert not state.worth_saving


def test_tidying_goes_backwards_and_past_failures(state, capsys):
    calls = []
    state.message = "stopped"
    ending.tidy_with(lambda: calls.append("lock"))
    ending.tidy_with(lambda: 1 / 0)
    ending.tidy_with(forgotten := lambda: calls.append("forgotten"))
    ending.tidy_with(lambda: calls.append("summaries"))
    ending.forget(forgotten)
    ending.forget(forgotten)
    ending._tidy()
    assert calls == ["summaries", "lock"]
    assert capsys.readouterr().out == "stopped\n"


def test_what_is_no_command_goes_on(state):
    def stopped():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        command.guarded(stopped)


# Neither comes to its end by itself.
DEAF = """
import signal, sys, time
from etils import epath
from cifsel.runtime import command, ending
from cifsel.workdir import lock

def run():
    with lock.alone(epath.Path(sys.argv[1])):
        print("here", flush=True)
        DEAF

# Tests in the background of a shell inherit that Ctrl-C is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
ending.UNHEARD_SECONDS, ending.UNWINDING_SECONDS = 0.5, 0.5
command.start_terminal()
command.guarded(run)
"""
COMPILES = """
import jax, jax.numpy as jnp
jax.config.update("jax_enable_compilation_cache", False)
def f(x):
    for i in range(1000):
        x = jnp.sin(x @ x) + jnp.cumsum(x[::-1], 0) * i
    return x
x = jnp.ones((16, 16))
print("compiling", flush=True)
jax.jit(f)(x)
""".replace("\n", "\n        ")
STUCK = """
try:
            time.sleep(60)
        finally:
            time.sleep(60)
"""


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(
    ("work", "signals"), [(COMPILES, 1), (COMPILES, 4), (STUCK, 1), (STUCK, 4)]
)
def test_the_process_ends_with_its_lock(tmp_path, work, signals):
    process = subprocess.Popen(
        [sys.executable, "-c", DEAF.replace("DEAF", work.strip()), tmp_path],
        cwd=REPO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    first = "compiling" if "jit" in work else "here"
    while process.stdout.readline().strip() != first:
        assert process.poll() is None, process.stderr.read()
    time.sleep(2.0 if "jit" in work else 0.1)  # Tracing takes less, compiling more.
    began = time.monotonic()
    for _ in range(signals):
        if process.poll() is None:
            os.kill(process.pid, signal.SIGINT)
            time.sleep(0.2)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (
        130,
        "stopped; the same command goes on from here\n",
        "",
    )
    assert time.monotonic() - began < 10
    assert list(tmp_path.iterdir()) == []
