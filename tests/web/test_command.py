"""The command: its flags, where training starts, and its end."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from paths import REPO

from cifsel.errors import UserError
from cifsel.prediction import published
from cifsel.web import __main__ as command
from cifsel.web import server, starting
from cifsel.web.looks import Looks
from cifsel.web.starting import start_of


def flags(*words):
    return command.parser().parse_args(list(words))


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "neither --workdir nor --checkpoint"),
        (["--workdir=x", "--host=0.0.0.0"], "--host=0.0.0.0 opens the page to other machines"),
        (["--workdir=x", "--host=::"], "give --password"),
        (["--workdir=x", "--name=photos.example.org"], "--name=photos.example.org opens"),
        (["--workdir=x", "--port=65536"], "--port is 65536; expected 0 to 65535"),
        (["--workdir=x", "--password=short"], "--password has 5 letters; expected 8 or more"),
    ],
)
def test_flags_that_do_not_fit_are_refused(words, problem, monkeypatch):
    monkeypatch.delenv(command.PASSWORD, raising=False)
    with pytest.raises(UserError, match=problem):
        command.check(flags(*words))


def test_other_flags_are_good(monkeypatch):
    monkeypatch.delenv(command.PASSWORD, raising=False)
    command.check(flags("--workdir=x"))
    command.check(flags("--checkpoint=x", "--host=localhost"))
    command.check(flags("--workdir=x", "--host=0.0.0.0", "--password=correct horse"))
    monkeypatch.setenv(command.PASSWORD, "correct horse")
    command.check(flags("--workdir=x", "--host=0.0.0.0"))


@pytest.mark.process
def test_help_needs_neither_jax_nor_gradio():
    code = "import sys, runpy\nsys.argv = ['cifsel.web', '--help']\n"
    code += "try: runpy.run_module('cifsel.web', run_name='__main__', alter_sys=True)\n"
    code += "except SystemExit: print({'jax', 'gradio', 'cv2', 'fastapi'} & set(sys.modules))"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\nset()\n"), done.stdout + done.stderr


def test_training_starts_from_what_there_is(tmp_path, monkeypatch, capsys):
    assert start_of(tmp_path, "/tmp/task1").init_from == "/tmp/task1"
    monkeypatch.setattr(starting, "find_file", lambda spec: f"/weights/{spec.model}.h5")
    assert start_of(tmp_path, None).init_from == "imagenet"
    assert "/weights/efficientnetv2-b0.h5" in capsys.readouterr().out

    def none(_):
        raise UserError("no network")

    monkeypatch.setattr(starting, "find_file", none)
    start = start_of(tmp_path, None)
    assert start.before[:3] == ("cifsel.main", "--config=quickstart.py", "--config.task=task1")
    assert start.before[-1] == f"--workdir={start.init_from}"
    assert "expect worse answers" in start.words
    assert "no ImageNet weights (no network)" in capsys.readouterr().err
    # A network that has learned from photos is better than one of drawn images.
    (tmp_path / published.NAME).touch()
    monkeypatch.setattr(published, "FOLDERS", (tmp_path,))
    assert start_of(tmp_path, None).init_from == str(tmp_path / published.NAME)


def test_no_training_starts_from_a_run_of_task_2(tmp_path, monkeypatch):
    monkeypatch.setattr(starting.Answerer, "task_of", lambda *_: "selfie")
    with pytest.raises(UserError, match="is of task 2, from which no training starts"):
        starting.parts(tmp_path, "/tmp/selfie")
    alone = starting.parts(None, "/tmp/selfie")
    assert (alone.projects, alone.trainer, alone.checkpoint) == (None, None, "/tmp/selfie")


def test_a_port_in_use_is_named():
    with server.listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} of 127.0.0.1 cannot be used"):
            server.listen("127.0.0.1", port)
    with pytest.raises(UserError, match="cannot be used"):
        server.listen("no.such.host.invalid", 1)


def test_without_gradio_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    visits = SimpleNamespace(looks=Looks())
    with pytest.raises(UserError, match=r"pip install 'cifsel\[web\]'"):
        server.application(visits, host="127.0.0.1", name="", password="")


def test_the_folder_of_uploads_is_private_and_goes(monkeypatch):
    monkeypatch.setattr(server.os, "environ", {})
    with server.uploads() as folder:
        assert folder.stat().st_mode & 0o077 == 0
        assert server.os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
        assert server.os.environ["GRADIO_TEMP_DIR"] in (str(folder), f"/private{folder}")
    assert not folder.exists()
