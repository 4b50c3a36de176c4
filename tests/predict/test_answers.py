"""Answers as lines, JSON and CSV, and the marks of photos that were seen in training."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest
from bright_model import put
from PIL import Image

from cifsel import predict
from cifsel.prediction import seen
from cifsel.workdir.model_meta import SeenPhoto


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
