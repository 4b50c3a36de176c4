"""A file of answers: it is resumed for the same job, and never replaced."""

import dataclasses
import itertools

import pytest
from bright_model import lines_of, names_of, put

from cifsel import predict
from cifsel.prediction import answers


@pytest.mark.parametrize("left", ["--jsonl 0", "--jsonl 1.6", "--csv 0.4", "--csv 3"])
def test_resume_answers_what_is_missing(run, tmp_path, monkeypatch, left):
    """The form, and how many lines are left. After a crash, the last one is half-written."""
    form, kept = left.split()[0], float(left.split()[1])
    paths = [*put(tmp_path / "photos", b=25, a=134, c=200), *put(tmp_path, **{"=d": 0})]
    paths.append(paths[0])  # twice
    file = tmp_path / "new" / "all"
    given = [*paths, form, f"--output={file}"]
    out, _, status = run(*given)
    assert (out, status) == (f"5 photos answered in {file}\n", 0)
    whole = lines_of(file)
    assert b"".join(whole).decode() == run(*paths, form)[0]
    assert {path.name for path in file.parent.iterdir()} == {"all"}

    file.unlink()
    with monkeypatch.context() as patch:
        stop_after(patch, int(kept))
        run(*given)
    header = len(whole) - 5
    assert lines_of(file) == whole[: header + int(kept)]
    file.write_bytes(file.read_bytes() + b'{"photo": "half' * (kept % 1 > 0))
    out, err, status = run(*given, "--resume")
    assert (err, status) == ("", 0)
    assert lines_of(file) == whole
    if kept >= 1:
        assert out.startswith(f"{int(kept)} of 5 photos answered already in {file}\n")
    monkeypatch.setattr(predict, "_load", pytest.fail)
    assert run(*given, "--resume") == (f"{file} is finished: nothing to do\n", "", 0)


def stop_after(monkeypatch, number):
    """Presses Ctrl-C after this many answers."""
    original = answers.answer_photos

    def interrupted(*arguments, **named):
        yield from itertools.islice(original(*arguments, **named), number)
        raise KeyboardInterrupt

    monkeypatch.setattr("cifsel.prediction.answering.answer_photos", interrupted)


def test_resume_is_for_the_same_job(run, model, tmp_path, monkeypatch):
    paths = put(tmp_path, a=25, b=134)
    file = tmp_path / "all.jsonl"
    given = [*paths, "--jsonl", f"--output={file}"]
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        out, _, status = run(*given)
    assert status == 130
    assert out == "stopped; give the same command with --resume, which goes on from here\n"
    before = file.read_bytes()
    for changed in (
        [*given[:-2], "--csv", given[-1]],
        [*given, "--shard=1/2"],
    ):
        _, err, status = run(*changed, "--resume")
        assert status == 2
        assert err.startswith(f"error: output {file} is of another job (")
    monkeypatch.setattr(predict, "_load", lambda *_: dataclasses.replace(model, digest="other"))
    _, err, status = run(*given, "--resume")
    assert "(checkpoint: '' -> 'other')" in err
    assert file.read_bytes() == before


def test_a_file_that_is_there_is_not_replaced(run, tmp_path):
    (path,) = put(tmp_path, a=25)
    file = tmp_path / "all"
    file.write_text("precious")
    for form in ("--json", "--jsonl", "--csv"):
        _, err, status = run(path, form, f"--output={file}")
        assert (file.read_text(), status) == ("precious", 2)
        assert err.startswith(f"error: output {file} is there already: give ")
    file.write_text("precious\n")
    _, err, status = run(path, "--jsonl", f"--output={file}", "--resume")
    assert (file.read_text(), status) == ("precious\n", 2)
    assert f"output {file}: line 1 is no answer of --jsonl" in err
    file.write_text("")
    assert run(path, "--json", f"--output={file}")[2] == 0
    assert names_of(file.read_text()) == [path]


def test_a_finished_file_lacks_photos_that_are_new(run, tmp_path):
    first, second = put(tmp_path, a=25, b=134)
    file = tmp_path / "all.csv"
    run(first, "--csv", f"--output={file}")
    _, err, status = run(first, second, "--csv", f"--output={file}", "--resume")
    assert status == 2
    assert f"has no answer for 1 of 2 photos, such as {second}: give another --output" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--output=x"], "add --jsonl, --csv or --json"),
        (["--resume", "--jsonl"], "--resume needs --output=FILE"),
        (["--resume", "--json", "--output=x"], "--jsonl or --csv"),
        (["--resume", "--csv", "--output=x", "--explain=x"], "leave out one of them"),
        (["--jsonl", "--output=gs://bucket/x"], "lines cannot be appended on gs://"),
        (["--jsonl", "--output={folder}"], "is not a file"),
        (["--jsonl", "--output={photo}/x"], "cannot be written"),
    ],
)
def test_flags_of_the_output_that_cannot_be_are_one_line(run, tmp_path, arguments, said):
    (path,) = put(tmp_path, a=25)
    filled = [argument.format(folder=tmp_path, photo=path) for argument in arguments]
    out, err, status = run(path, *filled)
    assert (out, status, err.count("\n")) == ("", 2, 1)
    assert said in err
