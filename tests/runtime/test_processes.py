"""How processes find each other, and what they say when one is missing or gone."""

import os
import socket
import subprocess
import sys
import time

import ports
import pytest
from paths import REPO

pytestmark = [pytest.mark.process, pytest.mark.slow]

WAIT = 3.0
# Meets the others, then does what its last argument says.
PROGRAM = """
import atexit, errno, sys, time
from cifsel.runtime import processes
from cifsel.errors import UserError
port, count, number, wait, what = sys.argv[1:]
if what in ("fail", "refuse", "full"):
    atexit.register(time.sleep, 60)  # As JAX does, which waits for the others.
try:
    with processes.together("localhost", int(port), int(count), int(number), float(wait)):
        print("met", flush=True)
        if what == "fail":
            raise KeyError("broken")
        if what == "refuse":
            raise UserError("refused")
        if what == "full":
            raise OSError(errno.ENOSPC, "no room")
        if what == "wait":
            time.sleep(60)
        if what in ("fail later", "refuse later"):
            sys.stdin.readline()
            raise (RuntimeError if what == "fail later" else UserError)("connection lost")
except UserError as error:
    print(error, flush=True)
"""


@pytest.fixture
def port():
    return ports.free()


def start(port, count, number, what="leave", wait=WAIT):
    arguments = [sys.executable, "-c", PROGRAM, *map(str, (port, count, number, wait)), what]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    # A thread ends those that wait. If coverage saves its data there, it crashes now and then.
    left_out = "COVERAGE" if what == "wait" else "\0"
    env = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return subprocess.Popen(arguments, cwd=REPO, env=env, text=True, **pipes)


def ends(*running):
    """(status, stdout, stderr) of each."""
    said = [process.communicate(timeout=60) for process in running]
    return [(process.returncode, *both) for process, both in zip(running, said, strict=True)]


def test_all_meet_in_any_order_and_leave(port):
    running = [start(port, 3, number) for number in (2, 1, 0)]
    for status, said, wrong in ends(*running):
        assert (status, said, wrong) == (0, "met\n", "")


def test_who_is_missing_is_named_to_those_who_are_there(port):
    (_, first, _), (_, other, _) = ends(start(port, 4, 0), start(port, 4, 2))
    assert first.startswith("processes 1, 3 of 4 did not start within 3 s: start all")
    assert other == "process 0 of 4 has given up: missing processes 1, 3\n"


def test_missing_process_0(port):
    ((_, said, _),) = ends(start(port, 2, 1, wait=0.5))
    assert said.startswith(f"process 0 of 2 was not found at localhost:{port} within 0.5 s")


def test_two_with_the_same_number(port):
    results = ends(start(port, 3, 0), start(port, 3, 1), start(port, 3, 1))
    assert any("calls itself config.process=1" in said for _, said, _ in results)


def test_other_ideas_of_how_many_there_are(port):
    (_, first, _), _ = ends(start(port, 2, 0), start(port, 3, 1))
    assert "a process calls itself config.process=1 of config.processes=3" in first


def test_a_stranger_at_the_port_changes_nothing(port):
    running = [start(port, 2, 0)]
    for _ in range(100):
        try:
            with socket.create_connection(("localhost", port)) as stranger:
                stranger.sendall(b"GET / HTTP/1.1\r\n\r\n".ljust(64))
            break
        except ConnectionRefusedError:
            assert running[0].poll() is None
    running.append(start(port, 2, 1))
    assert [said for _, said, _ in ends(*running)] == ["met\n", "met\n"]


def test_a_port_that_is_taken(port):
    with socket.create_server(("", port)):
        ((_, said, _),) = ends(start(port, 2, 0))
    assert f"port {port} of this machine cannot be used" in said


@pytest.mark.parametrize("lost", [0, 1])
def test_the_others_end_when_one_fails(port, lost):
    running = [start(port, 3, n, "fail" if n == lost else "wait") for n in range(3)]
    results = ends(*running)
    assert results[lost][0] == 1
    assert "KeyError: 'broken'" in results[lost][2]
    for number, (status, _, wrong) in enumerate(results):
        if number != lost:
            assert status == 75
            assert wrong.startswith(f"error: process {lost} is gone: give all commands again")


def test_what_all_refuse_all_say(port):
    for status, said, _ in ends(*(start(port, 3, n, "refuse") for n in range(3))):
        assert (status, said) == (2, "met\nrefused\n")


@pytest.mark.parametrize("lost", [0, 1])
def test_what_one_refuses_the_others_learn(port, lost):
    results = ends(*(start(port, 2, n, "refuse" if n == lost else "wait") for n in range(2)))
    assert results[lost][:2] == (2, "met\nrefused\n")
    assert results[1 - lost][0] == 75
    assert f"process {lost} is gone" in results[1 - lost][2]


def test_who_fails_ends_with_the_status_of_that(port):
    (status, _, _), (other, _, _) = ends(start(port, 2, 0, "full"), start(port, 2, 1, "wait"))
    assert (status, other) == (2, 75)


def test_the_others_end_when_one_is_killed(port):
    running = [start(port, 2, n, "wait") for n in range(2)]
    for process in running:
        assert process.stdout.readline() == "met\n"
    running[1].kill()
    (status, _, wrong), _ = ends(*running)
    assert status == 75
    assert "process 1 is gone" in wrong


@pytest.mark.parametrize("what", ["fail later", "refuse later"])
def test_what_fails_because_another_is_gone_is_not_the_reason(port, what):
    """JAX or a checkpoint may notice it first, and their errors say nothing of who is gone."""
    running = [start(port, 2, 0, what), start(port, 2, 1, "wait")]
    for process in running:
        assert process.stdout.readline() == "met\n"
    running[0].stdin.write("now\n")
    running[0].stdin.flush()
    time.sleep(0.5)
    running[1].kill()
    (status, _, wrong), _ = ends(*running)
    assert status == 75
    assert wrong.startswith("error: process 1 is gone")
    assert "Traceback" not in wrong
