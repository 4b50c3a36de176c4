"""Photos that cannot be used are named or skipped, and a failure is one line."""

import csv
import errno
import io
import json

import pytest
from bright_model import put

from cifsel import predict
from cifsel.errors import ExitCode, UserError
from cifsel.prediction import predictor


def test_unusable_photos_are_named_and_nothing_else_is_said(run, mixed, tmp_path):
    _, bad = mixed
    for form in ("--json", "--explain=" + str(tmp_path / "explained")):
        out, err, status = run(tmp_path, form)
        assert (out, status) == ("", 2)
        lines = err.splitlines()
        assert lines[-1].startswith("error: 3 of 5 photos cannot be used")
        assert len(lines) == 4
        for path, reason in bad.items():
            assert any(line.startswith(f"{path}: {reason}") for line in lines)


def test_unusable_photos_can_be_skipped(run, mixed, tmp_path):
    (first, last), bad = mixed
    out, err, status = run(tmp_path, "--skip-unreadable", "--json")
    assert status == 0
    assert len(err.splitlines()) == 3
    records = json.loads(out)
    assert [record["photo"] for record in records] == sorted([first, last, *bad])
    assert {record["photo"] for record in records if "skipped" in record} == set(bad)
    for record in records:
        assert bad.get(record["photo"], "") in record.get("skipped", "")
    out, _, _ = run(tmp_path, "--skip-unreadable")
    assert [line.split()[0] for line in out.splitlines()] == [first, last]
    rows = list(csv.reader(io.StringIO(run(tmp_path, "--skip-unreadable", "--csv")[0])))
    assert [row[0] for row in rows[1:]] == [first, last]


def test_a_mistyped_path_is_told_before_anything_is_loaded(run, tmp_path, monkeypatch):
    (path,) = put(tmp_path, a=25)
    missing = ["nowhere.jpg", "no/*.jpg", "~nobody/x.png", "x" * 300 + ".zip", "nul\0.png"]
    out, _, status = run(path, "-", "--skip-unreadable", stdin="\n".join(missing))
    assert (status, len(out.splitlines())) == (0, 1)
    monkeypatch.setattr(predict, "_load", pytest.fail)
    out, err, status = run(path, "-", stdin="\n".join(missing))
    assert (out, status) == ("", 2)
    lines = err.splitlines()
    assert lines[0] == "nowhere.jpg: no such file"
    assert lines[-1].startswith("error: 5 of 6 photos")
    assert all(line.isprintable() for line in lines)


def test_what_stops_it_all_is_not_skipped(run, tmp_path, monkeypatch):
    (path,) = put(tmp_path, a=25)

    def fail(*_):
        raise UserError("crop='face' needs OpenCV 4")

    monkeypatch.setattr(predictor.Predictor, "show", fail)
    out, err, status = run(path, "--skip-unreadable", "--json")
    assert (out, err, status) == ("", "error: crop='face' needs OpenCV 4\n", 2)


def test_interrupted(run, tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "run", interrupt)
    assert run("x") == ("", "", 130)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError("9 GB"), (ExitCode.BAD_INPUT, "out of memory (9 GB): close other programs")),
        (RuntimeError("RESOURCE_EXHAUSTED: 9 GB"), (ExitCode.BAD_INPUT, "out of memory")),
        (
            ValueError("UNAVAILABLE: gs:// is gone"),
            (ExitCode.TRY_AGAIN, "gs:// cannot be reached any more (UNAVAILABLE: gs:// is gone):"),
        ),
        (OSError(errno.ENOSPC, "No space left", "x.png"), (ExitCode.BAD_INPUT, "x.png: No space")),
    ],
)
def test_failures_of_the_machine_are_one_line(run, tmp_path, monkeypatch, error, expected):
    code, words = expected
    (path,) = put(tmp_path, a=25)

    def fail(*_):
        raise error

    monkeypatch.setattr(predictor.Predictor, "probabilities", fail)
    out, err, status = run(path)
    assert (out, status, err.count("\n")) == ("", code, 1)
    assert err.startswith(f"error: {words}")
    assert "checkpoint" not in err
    assert "config." not in err


@pytest.mark.parametrize("arguments", [["a.png", "--json", "--csv"], [], ["a.png", "--nonsense"]])
def test_flags_that_make_no_sense(run, arguments):
    assert run(*arguments)[2] == 2
