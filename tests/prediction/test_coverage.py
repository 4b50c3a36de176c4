"""Answers with sets of classes: where their threshold comes from, and how they are printed."""

import csv
import dataclasses
import json
import types

import numpy as np
import pytest

from cifsel import workdir
from cifsel.errors import UserError
from cifsel.prediction import coverage, formats
from cifsel.prediction.answers import Answer
from cifsel.prediction.predictor import SELFIE, TASK1, Predictor
from cifsel.workdir.model_meta import SeenPhoto

NAMES = ("cat", "dog", "fox")
# The probability of the true class of ten images that the model was not trained on.
TRUE = np.array([0.9, 0.1, 0.5, 0.6, 0.7, 0.3, 0.8, 0.95, 0.2, 0.4])


def predictor(task, **changes):
    unused = dict.fromkeys(field.name for field in dataclasses.fields(Predictor))
    needed = {"task": task, "class_names": NAMES, "temperature": 1.0, "seen": (), "sure_from": 0.5}
    return Predictor(**unused | needed | changes)


@pytest.fixture
def run(tmp_path):
    """A run of task 1 whose validation images have the probabilities `TRUE`."""
    (tmp_path / "checkpoints").mkdir()
    shares = np.stack([TRUE, (1 - TRUE) / 2, (1 - TRUE) / 2], 1)
    arrays = {"class_names": np.array(NAMES)}
    for split in ("val", "test"):
        arrays[f"{split}_logits"] = np.log(shares).astype(np.float32)
        arrays[f"{split}_labels"] = arrays[f"{split}_ids"] = np.zeros(len(TRUE), np.int32)
    workdir.write_npz(tmp_path / "predictions.npz", arrays)
    return tmp_path


def selfie():
    seen = tuple(SeenPhoto(f"{n}", 1, (1 - p, p, 0.0)) for n, p in enumerate(TRUE))
    return predictor(SELFIE, seen=seen)


@pytest.mark.parametrize(("wanted", "least"), [(0.9, 0.1), (0.8, 0.2), (0.5, 0.5)])
def test_threshold_is_from_images_that_the_model_was_not_trained_on(run, wanted, least):
    of_run = coverage.with_sets(predictor(TASK1), str(run), wanted)
    assert of_run.set_from == pytest.approx(least, abs=1e-6)
    assert coverage.with_sets(selfie(), "anywhere", wanted).set_from == pytest.approx(least)


def test_logits_are_divided_by_the_temperature(run):
    hot = predictor(TASK1, temperature=2.0)
    first = np.sqrt([0.9, 0.05, 0.05])
    known = coverage.true_probabilities(hot, str(run))
    assert known[0] == pytest.approx(first[0] / first.sum(), abs=1e-6)


@pytest.mark.parametrize("wanted", [0.0, 1.0, 90.0, float("nan")])
def test_other_numbers_are_refused(wanted):
    with pytest.raises(UserError, match=r"coverage is .*: give a number between 0 and 1"):
        coverage.with_sets(selfie(), "anywhere", wanted)


def test_too_few_images_are_refused():
    with pytest.raises(UserError) as error:
        coverage.with_sets(selfie(), "anywhere", 0.95)
    assert "sets need 19 images that the model was not trained on, and there are 10" in str(
        error.value
    )
    assert str(error.value).endswith("of at most 0.91")
    assert coverage.with_sets(selfie(), "anywhere", 0.909).set_from is not None


def test_predictions_of_another_run_are_refused(run):
    other = predictor(TASK1, class_names=("a", "b", "c"))
    with pytest.raises(UserError, match=r"predictions\.npz is of other classes"):
        coverage.with_sets(other, str(run), 0.9)
    (run / "predictions.npz").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"predictions\.npz is missing or damaged"):
        coverage.with_sets(predictor(TASK1), str(run), 0.9)
    with pytest.raises(UserError, match="no held-out answers"):
        coverage.with_sets(predictor(SELFIE), "anywhere", 0.9)


@pytest.mark.parametrize("task", [TASK1, SELFIE])
def test_sets_are_printed(task):
    model = types.SimpleNamespace(
        class_names=NAMES, task=task, set_from=0.3, runtime="jax", unsure=lambda p: p.max(1) < 0.6
    )
    answers = [Answer("a", np.array([0.3, 0.2, 0.5])), Answer("b", np.array([0.9, 0.05, 0.05]))]
    text = list(formats.as_text(answers, model, 1))
    assert text == ["a  fox 50 % or cat 30 %", "b  cat 90 %"]
    first, second = json.loads(formats.as_json(answers, model))
    assert (first["label"], first["set"]) == ("fox", ["fox", "cat"])
    assert second["set"] == ["cat"]
    rows = list(csv.DictReader(formats.as_csv(answers, model)))
    assert [row["set"] for row in rows] == ["fox; cat", "cat"]
    assert rows[0]["probability of dog"] == "0.2"
    if task == SELFIE:
        assert [row["unsure"] for row in rows] == ["true", "false"]
