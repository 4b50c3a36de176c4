"""Without a checkpoint, the model that cifsel comes with answers."""

import sys

import pytest
from bright_model import made, put

import cifsel
from cifsel import predict
from cifsel.errors import ExitCode, UserError
from cifsel.prediction import published


def test_without_a_checkpoint_the_model_that_cifsel_comes_with_answers(
    run, monkeypatch, tmp_path, capsys
):
    (path,) = put(tmp_path / "photos", a=25)
    monkeypatch.setattr(sys, "argv", ["predict", path])
    folders = tmp_path / "package" / "published", tmp_path / "experiments" / "models"
    monkeypatch.setattr(published, "FOLDERS", folders)
    with pytest.raises(SystemExit) as ended:
        predict.main()
    assert ended.value.code == ExitCode.BAD_INPUT
    assert "the following arguments are required: --checkpoint" in capsys.readouterr().err
    asked = []
    monkeypatch.setattr(predict, "_load", lambda given, *_: asked.append(given) or made("task1"))
    for folder in reversed(folders):
        folder.mkdir(parents=True)
        (folder / published.NAME).touch()
        predict.main()
        assert asked.pop() == str(folder / published.NAME)
    assert capsys.readouterr().out == 2 * f"{path}  sad 90 %, happy 10 %\n"
    run(path, checkpoint="/tmp/mine")
    assert asked == ["/tmp/mine"]


def test_python_too_takes_the_model_that_cifsel_comes_with(monkeypatch, tmp_path):
    monkeypatch.setattr(published, "FOLDERS", (tmp_path,))
    with pytest.raises(UserError, match="this cifsel comes without a model: give a checkpoint"):
        cifsel.load()
    (tmp_path / published.NAME).write_bytes(b"nothing")
    with pytest.raises(UserError, match=f"{published.NAME} is no model file of cifsel"):
        cifsel.load()
