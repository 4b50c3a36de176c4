"""The command `predict` with a model that knows brightness alone."""

import io
import sys

import pytest
from bright_model import made, put

from cifsel import predict
from cifsel.runtime import command


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setattr(predict, "_load", made)
    return made("selfie")


@pytest.fixture
def run(model, monkeypatch, capsys):
    """(arguments) -> what it printed, what it complained of, its exit status."""
    # It prepares a process for its end, and this one goes on.
    monkeypatch.setattr(command, "start_terminal", lambda: None)

    def call(*arguments, stdin="", checkpoint="selfie"):
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        given = ["predict", f"--checkpoint={checkpoint}", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", given)
        status = 0
        try:
            predict.main()
        except SystemExit as error:
            status = error.code
        out, err = capsys.readouterr()
        return out, err, status

    return call


@pytest.fixture
def mixed(tmp_path):
    """Good and bad ones, with what is said of each bad one."""
    good = put(tmp_path, a=25, z=200)
    (faceless,) = put(tmp_path, faceless=7)
    (tmp_path / "note.txt").write_text("hello")
    (tmp_path / "bad.zip").write_bytes(b"PK nonsense")
    bad = {
        str(tmp_path / "note.txt"): "not a JPEG",
        faceless: "no face found",
        str(tmp_path / "bad.zip"): "not a zip, or a damaged one",
    }
    return good, bad
