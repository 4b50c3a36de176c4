"""Two runs never share a workdir, and no run that has died stands in the way of the next."""

import errno
import fcntl
import os
import re
import socket
import subprocess
import sys

import pytest
from etils import epath
from paths import REPO

from cifsel import sweep, task1
from cifsel.errors import UserError
from cifsel.selfie.run import evaluate_and_train
from cifsel.workdir import lock, summaries
from configs import effnet
from configs import quickstart as quickstart_config
from configs import selfie as selfie_config

HOLD = """
import sys, time
from etils import epath
from cifsel.workdir import lock
with lock.alone(epath.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path):
    return epath.Path(tmp_path) / "runs" / "one"


def test_second_is_told_who_is_first(run):
    who = rf"in use by process {os.getpid()} on {re.escape(socket.gethostname())} since \d{{4}}-"
    for _ in range(2):
        with lock.alone(run), pytest.raises(UserError, match=who) as error:  # noqa: SIM117 - the inner one must fail
            with lock.alone(run):
                pytest.fail("both run")
        assert str(error.value).isprintable()
        assert str(run) in str(error.value)
        assert list(run.iterdir()) == []


def test_what_goes_wrong_in_a_run_ends_its_lock(run):
    with pytest.raises(KeyError), lock.alone(run):
        raise KeyError
    with lock.alone(run):
        assert [path.name for path in run.iterdir()] == [lock.NAME]


@pytest.mark.process
def test_killed_run_leaves_no_lock(run):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, run], cwd=REPO, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=f"process {holder.pid} on"), lock.alone(run):
        pytest.fail("both run")
    holder.kill()
    holder.communicate()
    assert (run / lock.NAME).exists()
    with lock.alone(run), pytest.raises(UserError, match=f"process {os.getpid()} on"):
        lock.alone(run).__enter__()
    assert list(run.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\n\xff\x00", b"one\nline\nmore"])
def test_lock_that_does_not_say_whose_it_is(run, content):
    with lock.alone(run):
        (run / lock.NAME).write_bytes(content)
        with pytest.raises(UserError, match="in use by another run:"), lock.alone(run):
            pytest.fail("both run")


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_systems_without_locks(run, monkeypatch, capfd, code):
    def flock(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    with lock.alone(run), lock.alone(run):
        assert [path.name for path in run.iterdir()] == [lock.NAME]
    assert capfd.readouterr() == ("", "")


def test_folders_that_cannot_be_written_are_left_to_others(tmp_path):
    (tmp_path / "file").write_text("mine")
    with lock.alone(epath.Path(tmp_path / "file")):
        assert (tmp_path / "file").read_text() == "mine"


def test_there_is_no_lock_on_gs(monkeypatch):
    monkeypatch.setattr(lock, "FileLock", None)
    with lock.alone(epath.Path("gs://nowhere/run")):
        pass


@pytest.mark.parametrize("task", ["task1", "selfie", "quickstart"])
def test_every_task_keeps_others_out(run, task):
    begin = {
        "task1": lambda: task1.train_and_evaluate(
            effnet.get_config(), str(run), summaries.Summaries()
        ),
        "selfie": lambda: evaluate_and_train(drawn_selfie(), str(run), summaries.Summaries()),
        "quickstart": lambda: sweep.quickstart(quickstart_config.get_config(), str(run)),
    }[task]
    with lock.alone(run):
        with pytest.raises(UserError, match="in use by process"):
            begin()
        assert [path.name for path in run.iterdir()] == [lock.NAME]


def drawn_selfie():
    config = selfie_config.get_config()
    config.photos, config.init_from = "drawn", "imagenet"
    return config


@pytest.mark.parametrize("kind", ["link", "hard link", "broken link", "loop", "pipe"])
def test_file_behind_a_lock_that_is_a_link_keeps_its_content(run, tmp_path, kind):
    precious = tmp_path / "precious"
    precious.write_text("kept")
    run.mkdir(parents=True)
    name = tmp_path / "runs" / "one" / lock.NAME
    if kind == "hard link":
        os.link(precious, name)
    elif kind == "pipe":
        os.mkfifo(name)
    else:
        targets = {"link": precious, "broken link": tmp_path / "absent", "loop": name}
        name.symlink_to(targets[kind])
    with lock.alone(run):
        assert name.read_text().startswith(f"\nprocess {os.getpid()} on")
        with pytest.raises(UserError, match=f"process {os.getpid()}"):
            lock.alone(run).__enter__()
    assert precious.read_text() == "kept"
    assert not (tmp_path / "absent").exists()
    assert list(run.iterdir()) == []


def test_folder_in_the_place_of_the_lock_stays(run):
    (run / lock.NAME / "inner").mkdir(parents=True)
    with lock.alone(run):
        pass
    assert (run / lock.NAME / "inner").exists()
