"""The command: which photos are meant, what is said of them, and what is said when it cannot be."""

import contextlib
import csv
import dataclasses
import errno
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from paths import REPO
from PIL import Image

import cifsel
from cifsel import predict
from cifsel.data.photos import crops, decoding, search
from cifsel.errors import ExitCode, UserError
from cifsel.models import classifier
from cifsel.prediction import answers, predictor, published, seen
from cifsel.runtime import command, threads
from cifsel.workdir.checkpoints import Checkpoints
from cifsel.workdir.model_meta import SeenPhoto


def brightness(shown):
    """Logits of a model to which photos are as happy as they are bright."""
    share = shown.mean((1, 2, 3)) / 255
    share = np.clip(share, 1e-3, 1 - 1e-3)
    return np.stack([np.log(share), np.log(1 - share)], 1)


class Cropper:
    """Finds a face in everything that is not of grey level 7."""

    def show(self, images, names, size):
        faces = tuple(None if (image == 7).all() else (0, 0, 1, 1) for image in images)
        return crops.Shown(crops.Cropper("none").show(images, names, size).images, faces)


def made(checkpoint, *_):
    """Stands in for what is restored; `--checkpoint=task1` gives one of task 1."""
    return predictor.Predictor(
        task=checkpoint,
        class_names=("happy", "sad"),
        sure_from=0.6,
        size=8,
        detail=8,
        temperature=1.0,
        cropper=Cropper(),
        needs_face=True,
        logits=brightness,
        evidence=lambda shown, classes: np.full((1, 1, 1), 1 - int(classes[0]), np.float32),
    )


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setattr(predict, "_load", made)
    return made("selfie")


def put(folder, **grey):
    """Writes photos of one grey level each; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, level in grey.items():
        paths.append(str(folder / f"{name}.png"))
        Image.new("RGB", (16, 12), (level,) * 3).save(paths[-1])
    return paths


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


def names_of(out):
    return [record["photo"] for record in json.loads(out)]


# --- which model ---


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


# --- what is said ---


def test_a_line_for_each_photo_in_the_order_given(run, tmp_path):
    a, longer, c, d = put(tmp_path, a=25, much_longer=200, c=134, d=0)
    out, err, status = run(longer, a, c, d, a)
    width = len(longer)
    assert out.splitlines() == [
        f"{longer}  happy 78 %",
        f"{a:<{width}}  sad 90 %",
        f"{c:<{width}}  unsure (happy 53 %)",
        f"{d:<{width}}  sad over 99 %",
        f"{a:<{width}}  sad 90 %",
    ]
    assert (err, status) == ("", 0)


def test_task_1_says_what_comes_first_and_is_never_unsure(run, tmp_path):
    (path,) = put(tmp_path, a=134)
    out, _, _ = run(path, checkpoint="task1")
    assert out == f"{path}  happy 53 %, sad 47 %\n"
    record = json.loads(run(path, "--json", checkpoint="task1")[0])[0]
    assert "unsure" not in record
    assert "unsure" not in run(path, "--csv", checkpoint="task1")[0]


def test_photos_of_training_are_marked_with_their_held_out_answer(
    run, model, monkeypatch, tmp_path
):
    a, b = put(tmp_path, a=25, b=134)
    photo = SeenPhoto(seen.digest(np.full((12, 16, 3), 25, np.uint8)), 1, (0.75, 0.25))
    monkeypatch.setattr(predict, "_load", lambda *_: dataclasses.replace(model, seen=(photo,)))
    lines = run(a, b)[0].splitlines()
    assert lines == [
        f"{a}  sad 90 %  (seen in training; held out: happy 75 %)",
        f"{b}  unsure (happy 53 %)",
    ]
    records = json.loads(run(a, b, "--json")[0])
    assert [record["seen_in_training"] for record in records] == [True, False]
    assert records[0]["held_out"] == {"label": "happy", "probability": 0.75}
    rows = list(csv.DictReader(io.StringIO(run(a, b, "--csv")[0])))
    assert [row["seen in training"] for row in rows] == ["true", "false"]
    assert [row["held-out label"] for row in rows] == ["happy", ""]
    assert [row["held-out probability"] for row in rows] == ["0.75", ""]
    assert [record["seen_as"] for record in records] == ["same", None]
    assert [row["seen as"] for row in rows] == ["same", ""]
    assert [row["probability of sad"] for row in rows] == ["0.901961", "0.47451"]


def test_copies_of_photos_of_training_are_marked_as_copies(run, model, monkeypatch, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8).repeat(20, 0)
    pixels = pixels.repeat(20, 1)
    photo = SeenPhoto("0" * 32, 1, (0.75, 0.25), seen.look(pixels))
    monkeypatch.setattr(predict, "_load", lambda *_: dataclasses.replace(model, seen=(photo,)))
    path = tmp_path / "copy.jpg"
    Image.fromarray(pixels).resize((100, 75)).save(path, quality=40)
    assert "  (much like a photo of training; held out: happy 75 %)\n" in run(path)[0]
    (record,) = json.loads(run(path, "--json")[0])
    assert (record["seen_in_training"], record["seen_as"]) == (True, "copy")
    assert record["held_out"] == {"label": "happy", "probability": 0.75}
    (row,) = csv.DictReader(io.StringIO(run(path, "--csv")[0]))
    assert (row["seen in training"], row["seen as"]) == ("true", "copy")


def test_json_and_csv_agree(run, tmp_path):
    paths = put(tmp_path / 'odd, "name"', a=25, b=134)
    records = json.loads(run(*paths, "--json")[0])
    assert records[0] == {
        "photo": paths[0],
        "label": "sad",
        "probability": pytest.approx(1 - 25 / 255, abs=1e-6),
        "probabilities": {
            "happy": pytest.approx(25 / 255, abs=1e-6),
            "sad": pytest.approx(1 - 25 / 255, abs=1e-6),
        },
        "unsure": False,
        "seen_in_training": False,
        "held_out": None,
        "seen_as": None,
        "unlike": False,
    }
    assert (records[1]["label"], records[1]["unsure"]) == ("happy", True)
    rows = list(csv.reader(io.StringIO(run(*paths, "--csv")[0])))
    assert rows[0] == ["photo", "label", "probability", "unsure", "probability of happy",
                       "probability of sad", "seen in training", "held-out label",
                       "held-out probability", "seen as", "unlike"]  # fmt: skip
    for row, record in zip(rows[1:], records, strict=True):
        shares = [record["probability"], record["unsure"], *record["probabilities"].values()]
        assert row[:2] == [record["photo"], record["label"]]
        assert [json.loads(cell) for cell in row[2:-5]] == shares
        assert row[-5:] == ["false", "", "", "", "false"]
    lines = run(*paths, "--jsonl")[0].splitlines()
    assert [json.loads(line) for line in lines] == records


# --- which photos are meant ---


def test_folders_zips_and_patterns(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(Path("more/deep"), b=1, a=1)
    put(Path("more/__MACOSX"), x=1)
    put(Path("more"), z=1)
    Path("more/.hidden.png").write_bytes(b"")
    Path("more/Thumbs.db").write_bytes(b"")
    with zipfile.ZipFile("more/inner.zip", "w") as archive:
        archive.write("more/z.png", "in/one.png")
        archive.write("more/z.png", "__MACOSX/._one.png")
    Path("empty").mkdir()
    folder = ["more/deep/a.png", "more/deep/b.png", "more/inner.zip/in/one.png", "more/z.png"]
    assert names_of(run("more/", "--json")[0]) == folder
    assert names_of(run("more/inner.zip", "more/z.png", "--json")[0]) == folder[2:]
    assert names_of(run("more/*/[ab].png", "--json")[0]) == folder[:2]
    assert names_of(run("**", "--json")[0]) == folder  # each once
    for nothing in ("empty", "em*"):
        out, err, status = run(nothing)
        assert (out, status) == ("", 2)
        assert err == f"error: {nothing}: no files in it; expected photos\n"


def test_a_name_that_looks_like_a_pattern_is_a_name(run, tmp_path):
    (path,) = put(tmp_path, **{"a[1]": 25})
    assert names_of(run(path, "--json")[0]) == [path]


def test_paths_from_standard_input(run, tmp_path):
    first, second, third = put(tmp_path, **{"b": 1, " space ": 1, "-": 1})
    out, _, status = run(first, "-", third, "--json", stdin=f"{second}\r\n\n{third}\n")
    assert names_of(out) == [first, second, third, third]
    assert status == 0
    out, err, status = run("-", stdin="\n")
    assert (out, status) == ("", 2)
    assert "standard input is empty" in err


# --- photos that cannot be used ---


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


# --- many photos ---


def test_answers_are_out_before_the_last_photos_are_decoded(model, tmp_path, monkeypatch):
    """And they come in the order of the photos, though those are decoded in threads."""
    paths = put(tmp_path, **{f"p{i:03}": 2 * i + 10 for i in range(100)})
    decoded = []

    def decode(source, name):
        decoded.append(name)
        return decoding.decode(source, name)

    monkeypatch.setattr(search, "decode", decode)
    monkeypatch.setattr(predictor, "batch_size", lambda: 4)
    monkeypatch.setattr(threads, "cores", lambda: 3)
    with contextlib.ExitStack() as stack:
        items = search.find_photos(paths, stack)
    given = answers.answer_photos(items, model, skip=True)
    first = next(given)
    assert len(decoded) <= 2 * 4 + 3 + 4  # two batches, one for each core, and the batch itself
    rest = list(given)
    assert [answer.photo for answer in [first, *rest]] == paths
    shares = [answer.probabilities[0] for answer in [first, *rest]]
    assert shares == sorted(shares)


def test_lines_are_printed_until_the_first_photo_with_a_problem(run, tmp_path, monkeypatch):
    monkeypatch.setattr(predictor, "batch_size", lambda: 3)
    paths = put(tmp_path, **{f"p{i}": 7 if i in (4, 6) else 100 for i in range(9)})
    for form, header in (("--jsonl", 0), ("--csv", 1)):
        out, err, status = run(*paths, form)
        lines = out.splitlines()[header:]
        assert len(lines) == 4
        assert all(path in line for path, line in zip(paths, lines, strict=False))
        assert [line.split(": ")[0] for line in err.splitlines()] == [paths[4], paths[6], "error"]
        assert err.splitlines()[-1].startswith("error: 2 of 9 photos cannot be used")
        assert status == 2


def test_shards_are_all_photos_once(run, tmp_path):
    paths = put(tmp_path, **{f"p{i}": 100 for i in range(5)})
    parts = [names_of(run(*paths, "--json", f"--shard={n}/3")[0]) for n in (1, 2, 3)]
    assert parts == [paths[0::3], paths[1::3], paths[2::3]]
    assert run(paths[0], "--jsonl", "--shard=2/2") == ("", "", 0)
    for wrong in ("0/3", "4/3", "3", "1/0", "-1/3", "a/b"):
        _, err, status = run(paths[0], f"--shard={wrong}")
        assert status == 2
        assert "give the number of the part and how many there are, such as 3/16" in err


# --- a file of answers ---


def lines_of(path):
    return path.read_bytes().splitlines(keepends=True)


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


# --- explanations ---


def test_explanations_have_a_file_each(run, model, tmp_path):
    paths = [*put(tmp_path / "a", x=200, y=25), *put(tmp_path / "b", X=134)]
    made = tmp_path / "new" / "explained"
    out, err, status = run(*paths, f"--explain={made}")
    assert (err, status, len(out.splitlines())) == ("", 0, 3)
    assert {path.name for path in made.iterdir()} == {"x.png", "y.png", "X-2.png"}
    # The map of this model has one cell, which says nothing of places: photos stay as they are.
    expected = {"x.png": 200, "y.png": 25, "X-2.png": 134}
    for name, level in expected.items():
        with Image.open(made / name) as picture:
            np.testing.assert_allclose(np.asarray(picture), np.full((8, 8, 3), level), atol=1)


def test_explanations_of_skipped_photos_do_not_move_those_of_others(run, mixed, tmp_path):
    made = tmp_path / "explained"
    run(tmp_path, "--skip-unreadable", f"--explain={made}")
    assert {path.name for path in made.iterdir()} == {"a.png", "z.png"}
    with Image.open(made / "z.png") as picture:
        assert picture.getpixel((0, 0)) == (200,) * 3


def test_explanations_never_replace_photos(run, tmp_path):
    (path,) = put(tmp_path, a=25)
    before = Path(path).read_bytes()
    _, err, status = run(path, f"--explain={tmp_path}")
    assert status == 2
    assert "has photos in it that are to be explained" in err
    assert Path(path).read_bytes() == before
    _, err, status = run(path, f"--explain={path}")
    assert status == 2
    assert err.startswith(f"error: explain {path} cannot be written")


# --- as a process ---


@pytest.fixture(scope="module")
def checkpoint(variables_of, tmp_path_factory):
    """The workdir of a small run of task 2."""
    folder = tmp_path_factory.mktemp("selfie")
    variables = variables_of(classifier.build("efficientnetv2-mini", num_classes=2), 32)
    tree = {kind: {"backbone": variables[kind]["backbone"]} for kind in variables}
    kernel = np.random.default_rng(0).normal(size=(24, 2)).astype(np.float32)
    meta = {
        "task": "selfie",
        "l2": 0.01,
        "init_from": "imagenet",
        "config": {},
        "backbone": {"model": "efficientnetv2-mini", "alpha": 1.0},
        "class_names": ["happy", "sad"],
        "places": [["block2a", 1]],
        "image_size": 32,
        "resize": "bicubic",
        "mirror": False,
        "crop": {"kind": "none", "margin": 1.2, "fallback": False},
        "temperature": 1.0,
        "sure_from": None,
        "unlike_from": None,
    }
    with Checkpoints(epath.Path(folder)) as saved:
        saved.save(0, model=tree | {"head": {"kernel": kernel, "bias": kernel[0]}}, meta=meta)
    return folder


@pytest.mark.process
@pytest.mark.slow
def test_starts_without_what_it_does_not_need(checkpoint, tmp_path):
    """TensorFlow alone would take longer than everything else."""
    (path,) = put(tmp_path, **{"\udcff": 25})
    code = (
        "import sys; from cifsel import predict; predict.main();"
        "needless = {'tensorflow', 'matplotlib', 'clu.metric_writers', 'tensorboard', 'fsspec',"
        " 'h5py', 'scipy.stats', 'scipy.spatial', 'gcsfs'};"
        "sys.exit(str(needless & set(sys.modules)))"
    )
    env = os.environ | {
        "CIFSEL_CACHE": str(tmp_path / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    env.pop("JAX_COMPILATION_CACHE_DIR", None)
    given = [f"--checkpoint={checkpoint}", path, "-"]
    done = subprocess.run(
        [sys.executable, "-c", code, *given],
        input=os.fsencode(path),
        env=env,
        cwd=REPO,
        capture_output=True,
        check=False,
    )
    assert done.stderr.decode().strip() == "set()"
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 2
    assert lines[0] == lines[1]
    assert "unsure (" in lines[0]
    assert r"/\udcff.png" in lines[0]
    assert any((tmp_path / "cache" / "compiled").iterdir())


@pytest.mark.process
@pytest.mark.slow
def test_a_closed_pipe_ends_it_quietly(checkpoint, tmp_path):
    (path,) = put(tmp_path, a=25)
    command = f"'{sys.executable}' -m cifsel.predict --checkpoint='{checkpoint}' '{path}'"
    done = subprocess.run(
        ["bash", "-c", f"{command} | true; echo ${{PIPESTATUS[0]}}"],
        cwd=REPO,
        env=os.environ | {"CIFSEL_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{ExitCode.CLOSED_PIPE}\n", "")


@pytest.mark.process
@pytest.mark.slow
def test_all_devices_compute_and_answers_are_those_of_one(checkpoint, tmp_path, capsys):
    """Also those of a last batch that does not fill all devices."""
    paths = put(tmp_path, **{f"p{i:02}": 10 * i for i in range(18)})
    given = [f"--checkpoint={checkpoint}", *paths, "--jsonl"]
    code = (
        "import sys, jax; from cifsel import predict; from cifsel.prediction import predictor;"
        "assert (jax.device_count(), predictor.batch_size()) == (4, 16);"
        "predict.main()"
    )
    settings = {
        "CIFSEL_CACHE": str(tmp_path / "cache"),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *given],
        cwd=REPO,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    predict.run(predict.parser().parse_args(given))
    alone = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for ours, other in zip(map(json.loads, done.stdout.splitlines()), alone, strict=True):
        assert ours["photo"] == other["photo"]
        assert ours["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


@pytest.mark.process
@pytest.mark.slow
def test_ctrl_c_ends_it_while_threads_decode(tmp_path):
    """Without waiting for them, and with a whole line for each photo that was answered."""
    paths = put(tmp_path, **{f"p{i:02}": 100 for i in range(60)})
    file = tmp_path / "all.jsonl"
    code = (
        "import sys, time; sys.path.insert(0, 'tests'); import test_predict;"
        "from cifsel import predict; from cifsel.data.photos import search;"
        "last = sys.argv.pop(1); decode = search.decode;"
        "search.decode = lambda s, n: (time.sleep(0 if n < last else 60), decode(s, n))[1];"
        "predict._load = test_predict.made; predict.main()"
    )
    given = [*paths, "--checkpoint=selfie", "--jsonl", f"--output={file}"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, paths[30], *given],
        cwd=REPO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while not (file.exists() and file.stat().st_size) and time.monotonic() < until:
        time.sleep(0.05)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (err, process.returncode) == ("", ExitCode.INTERRUPTED)
    assert out.startswith("stopped; give the same command with --resume")
    assert time.monotonic() - began < 30  # A decoding takes 60 s here.
    assert [json.loads(line)["photo"] for line in lines_of(file)] == paths[: len(lines_of(file))]
