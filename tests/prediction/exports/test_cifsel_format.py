"""Model files from runs, and all that reads them in the place of a run."""

import dataclasses
import hashlib
import json
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from cifsel import build
from cifsel.data import drawn_images
from cifsel.errors import UserError
from cifsel.evaluation import prediction_sets
from cifsel.models import classifier
from cifsel.prediction import coverage, predictor
from cifsel.prediction.exports import cifsel_format, parity, source
from cifsel.selfie.protocol import pretrained
from cifsel.workdir import model_file
from cifsel.workdir.model_file import FLOAT16, INT8

PLACES = [["first", 3], ["second", 2]]
WIDTH = 9 * 6 + 4 * 12


@pytest.fixture(scope="module", autouse=True)
def tiny_network(build_tiny, dataset):
    """Stands in for all networks, and `dataset` for drawn images."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (build, classifier, pretrained):
            patch.setattr(module, "build", build_tiny)
        patch.setattr(drawn_images, "draw_classes", lambda **_: dataset)
        yield


@pytest.fixture(scope="module")
def folder(make_run, tmp_path_factory):
    """A finished run with 100 validation images."""
    wrong = {"val": np.arange(9), "test": np.arange(7)}
    return make_run(tmp_path_factory.mktemp("run") / "tiny", "mobilenet", wrong, data_dir="/secret")


@pytest.fixture(scope="module")
def files(folder, tmp_path_factory):
    """The model files of the run, by their weights."""
    written, restored = {}, source.load(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cifsel_format, "MAX_LOSS", 1.0)  # Noise on a network that knows nothing.
        for weights in (FLOAT16, INT8):
            written[weights] = tmp_path_factory.mktemp("files") / f"{weights}.safetensors"
            export = cifsel_format.make(restored, folder, weights)
            written[weights].write_bytes(export.content)
    return written


@pytest.mark.parametrize(("weights", "most"), [(FLOAT16, 2e-3), (INT8, 3e-2)])
def test_a_file_answers_nearly_as_its_run(files, folder, weights, most):
    of_run, of_file = predictor.load(folder), predictor.load(str(files[weights]))
    assert of_file.class_names == of_run.class_names
    assert (of_file.size, of_file.detail) == (of_run.size, of_run.detail)
    images = parity.images_for_check(32)
    difference = np.abs(of_file.probabilities(images) - of_run.probabilities(images)).max()
    assert 0 < difference < most
    assert of_file.digest == hashlib.sha256(files[weights].read_bytes()).hexdigest()


def test_sets_are_calibrated_on_what_the_file_answers(files, dataset):
    made = predictor.load(str(files[INT8]))
    answers = made.probabilities(dataset.val.images)
    known = answers[np.arange(100), dataset.val.labels]
    np.testing.assert_allclose(made.calibration, known, rtol=1e-5)
    least = coverage.with_sets(made, str(files[INT8]), 0.9).set_from
    assert least == pytest.approx(prediction_sets.threshold_of(known, 0.9), rel=1e-5)
    facts = model_file.read(files[INT8]).facts
    assert facts.coverage["0.9"] == pytest.approx(least)


def test_a_file_says_how_its_model_was_made_and_no_path_of_the_machine(files, folder):
    file = model_file.read(files[FLOAT16])
    metrics = json.loads(Path(folder, "metrics.json").read_text())
    record = file.facts.record
    assert record["test"]["accuracy"] == metrics["test"]["accuracy"] == 0.93
    assert record["test"]["interval"] == metrics["test"]["accuracy_interval"]
    assert len(record["test_by_class"]) == 50
    assert (record["seed"], record["finished"]) == (0, metrics["finished"])
    assert re.fullmatch("[0-9a-f]{64}", record["checkpoint_sha256"])
    assert record["rounding"]["images"] == 100
    assert (file.meta.config["data_dir"], file.meta.config["weights"]) == (None, "imagenet")
    assert b"/secret" not in files[FLOAT16].read_bytes()
    # RGB in 0..255 becomes -1..1 for MobileNet.
    assert file.facts.preprocessing == {
        "side": 32,
        "image_size": 32,
        "resize": "bicubic",
        "mirror": True,
        "mean": [127.5] * 3,
        "std": [127.5] * 3,
    }


def test_the_command_says_what_rounding_costs(run, folder, tmp_path):
    target = tmp_path / "tiny.safetensors"
    said, status = run(f"--checkpoint={folder}", "--format=cifsel", f"--output={target}")
    assert status == 0, said
    assert re.search(r"accuracy on 100 validation images: \S+ % in float32, \S+ % in float16", said)
    assert "cifsel.load" in (tmp_path / "tiny.safetensors.md").read_text()
    assert json.loads((tmp_path / "tiny.safetensors.json").read_text())["weights"] == "float16"
    assert model_file.read(target).facts.weights == FLOAT16


@pytest.mark.parametrize(
    ("after", "refused"), [(0.801, False), (0.8, False), (0.7981, False), (0.798, True)]
)
def test_int8_that_answers_worse_is_refused_and_float16_is_not(folder, monkeypatch, after, refused):
    restored = source.load(folder)
    for weights in (INT8, FLOAT16):
        shares = iter([0.8, after])
        monkeypatch.setattr(cifsel_format.validation, "accuracy", lambda *_, s=shares: next(s))
        if refused and weights == INT8:
            with pytest.raises(UserError, match=r"a loss of 0\.2 points or more: nothing was wri"):
                cifsel_format.make(restored, folder, weights)
        else:
            (note,) = cifsel_format.make(restored, folder, weights).notes
            assert f"80.00 % in float32, {100 * after:.2f} % in {weights}" in note


def test_without_its_images_a_run_is_exported_in_float16_alone(folder, monkeypatch, capsys):
    monkeypatch.setattr(build, "dataset", lambda _: refuse("no images here"))
    restored = source.load(folder)
    export = cifsel_format.make(restored, folder, FLOAT16)
    assert "the accuracy is not measured" in "".join(capsys.readouterr())
    file = model_file.parse(export.content, "FILE")
    assert file.facts.record["rounding"] is None
    known = coverage.true_probabilities(restored.predictor, folder)
    np.testing.assert_allclose(file.calibration, known, rtol=1e-5)
    with pytest.raises(UserError, match=r"cannot be had \(no images here\): leave --quantize"):
        cifsel_format.make(restored, folder, INT8)


def refuse(message):
    raise UserError(message)


def test_a_run_that_is_not_finished_and_a_file_are_refused(files, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / "metrics.json").unlink()
    restored = source.load(folder)
    with pytest.raises(UserError, match=r"metrics\.json is not there"):
        cifsel_format.make(restored, str(tmp_path / "run"), FLOAT16)
    (tmp_path / "run" / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match=r"metrics\.json is not what a run wrote"):
        cifsel_format.make(restored, str(tmp_path / "run"), FLOAT16)
    with pytest.raises(UserError, match="is a model file already"):
        cifsel_format.make(restored, str(files[INT8]), FLOAT16)


def test_task_2_starts_from_a_file(files, folder, monkeypatch):
    def start(path, imagenet):
        monkeypatch.setattr(pretrained, "_imagenet", lambda *_: imagenet)
        options = {"imagenet_model": "mobilenet", "weights_dir": None, "image_size": 0}
        return pretrained.pretrained_backbones(str(path), **options)

    monkeypatch.setattr(pretrained, "_imagenet", lambda *_: refuse("no network"))
    (own,) = pretrained.pretrained_backbones(
        folder, imagenet_model="mobilenet", weights_dir=None, image_size=0
    )
    other = dataclasses.replace(own, variables=jax.tree.map(lambda x: x + 1, own.variables))
    for weights in (FLOAT16, INT8):
        made, _ = start(files[weights], other)
        assert (made.model_name, made.image_size) == ("mobilenet", 32)
        expected = model_file.rounded(own.variables, weights)
        jax.tree.map(np.testing.assert_array_equal, made.variables, expected)
        # A probe leaves the backbone as it was. Its rounding is no reason to compare the two.
        assert len(start(files[weights], own)) == 1


def test_other_preprocessing_is_refused(files, tmp_path):
    content = files[FLOAT16].read_bytes()
    tensors = safetensors.numpy.load(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    facts = json.loads(header["__metadata__"]["cifsel"])
    target = tmp_path / "other.safetensors"
    for name, value in (("resize", "nearest"), ("mean", [0, 0, 0]), ("std", None), ("side", True)):
        changed = facts | {"preprocessing": facts["preprocessing"] | {name: value}}
        target.write_bytes(safetensors.numpy.save(tensors, {"cifsel": json.dumps(changed)}))
        with pytest.raises(UserError, match=rf"has preprocessing\.{name} .* expected"):
            predictor.load(str(target))


def test_a_classifier_of_own_photos_becomes_a_file_too(
    variables_of, build_tiny, save_selfie, tmp_path
):
    variables = variables_of(build_tiny(num_classes=3), 32)
    folder = save_selfie(tmp_path / "selfie", variables, WIDTH, PLACES)
    metrics = {"sentence": "2 of 3", "finished": "2026", "git_commit": None, "versions": {}}
    (folder / "metrics.json").write_text(json.dumps(metrics | {"config": {}}))
    restored = source.load(str(folder))
    export = cifsel_format.make(restored, str(folder), FLOAT16)
    assert 0 < export.difference < 2e-3
    target = tmp_path / "selfie.safetensors"
    target.write_bytes(export.content)
    of_file = predictor.load(str(target))
    assert (of_file.task, of_file.sure_from, of_file.temperature) == ("selfie", 0.7, 1.6)
    facts = model_file.read(target).facts
    assert (facts.sure_from, facts.temperature) == (0.7, 1.6)
    with pytest.raises(UserError, match="a classifier of own photos has none"):
        cifsel_format.make(restored, str(folder), INT8)
    with pytest.raises(UserError, match="is of task 2"):
        pretrained.pretrained_backbones(
            str(target), imagenet_model="mobilenet", weights_dir=None, image_size=0
        )
