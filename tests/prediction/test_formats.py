"""Answers as text, JSON and CSV: names may be anybody's, and are harmless in each."""

import csv
import io
import json
import types

import numpy as np
import pytest

from cifsel.prediction import formats
from cifsel.prediction.answers import Answer

PREDICTOR = types.SimpleNamespace(
    class_names=("=sad", "happy\x1b[2J"), task="task1", set_from=None, runtime="jax"
)


def answers(*photos):
    return [Answer(photo, np.array([0.25, 0.75])) for photo in photos]


@pytest.mark.parametrize(
    ("photo", "cell"),
    [
        ("a.jpg", "a.jpg"),
        ("a\nb.jpg", r"a\nb.jpg"),
        ("a\r.jpg", r"a\r.jpg"),
        ("a\x1b[31m.jpg", r"a\x1b[31m.jpg"),
        ("=1+2.jpg", "'=1+2.jpg"),
        ("+1.jpg", "'+1.jpg"),
        ("-1.jpg", "'-1.jpg"),
        ("@SUM.jpg", "'@SUM.jpg"),
        (" =1.jpg", "' =1.jpg"),
        ("\uff1d1.jpg", "'\uff1d1.jpg"),
        ("\t=1.jpg", r"\t=1.jpg"),
        ("\ufeff=1.jpg", r"\ufeff=1.jpg"),
        ('a=1, "b".jpg', 'a=1, "b".jpg'),
        ("\udcff.jpg", r"\udcff.jpg"),
    ],
)
def test_csv_has_one_row_for_each_photo_and_no_formula(photo, cell):
    lines = list(formats.as_csv(answers(photo), PREDICTOR))
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    header, row = csv.reader(io.StringIO("\n".join(lines)))
    assert header == ["photo", "label", "probability", "probability of =sad", header[4]]
    assert header[4] == r"probability of happy\x1b[2J"
    assert row == [cell, r"happy\x1b[2J", "0.75", "0.25", "0.75"]


def test_csv_labels_are_no_formulas_and_numbers_stay_numbers():
    (_, row) = csv.reader(formats.as_csv([Answer("a", np.array([1.0, -0.0]))], PREDICTOR))
    assert row == ["a", "'=sad", "1.0", "1.0", "-0.0"]


def test_json_keeps_names_and_controls_no_terminal():
    said = formats.as_json(answers("=a\n\x1b[31m\udcff"), PREDICTOR)
    assert said.count("\n") == 2
    assert all(line.isprintable() for line in said.split("\n"))
    (record,) = json.loads(said)
    assert record["photo"] == "=a\n\x1b[31m\udcff"
    assert record["label"] == "happy\x1b[2J"


def test_text_is_printable():
    (line,) = formats.as_text(answers("a\n\x1b[31m"), PREDICTOR, width=5)
    assert line == r"a\n\x1b[31m  happy\x1b[2J 75 %, =sad 25 %"
