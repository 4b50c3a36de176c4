"""The metadata of exports, and the page that says how they are used."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image
from tiny_sources import NAMES

from cifsel.data.photos import crops
from cifsel.evaluation import features
from cifsel.prediction import coverage
from cifsel.prediction.exports import formats, metadata, usage


def test_metadata(tiny_selfie, tiny_task1):
    described = metadata.of(tiny_selfie, "onnx").to_json()
    assert described.pop("cifsel_version")
    assert "Apache-2.0" in described.pop("licence")
    assert described == {
        "format": "onnx",
        "task": "selfie",
        "model": "mobilenet",
        "alpha": 1.0,
        "class_names": list(NAMES),
        "sure_from": 0.7,
        "set_from": {},
        "input_size": 32,
        "crop": {
            "kind": "face",
            "margin": 1.5,
            "fallback": False,
            "whole": False,
            "middle": 1.0,
        },
        "checkpoint_sha256": "0" * 64,
        "weights": "float32",
    }
    texts = metadata.of(tiny_task1(features.View(32, "bicubic", False), 20), "keras").to_texts()
    assert json.loads(texts["class_names"]) == list(NAMES)
    assert (texts["sure_from"], texts["input_size"]) == ("null", "20")


def test_the_page_says_what_an_expression_crop_is(tiny_selfie):
    crop = {
        "kind": "expression",
        "margin": 0.9,
        "fallback": True,
        "whole": False,
        "middle": 0.875,
    }
    described = dataclasses.replace(metadata.of(tiny_selfie, "onnx"), crop=crop)
    page = " ".join(usage.page("it.onnx", described).split())
    assert "the lower part of faces, moved to one place, in grey levels of mean 128" in page
    assert "Without a face: a square in the middle, 0.875 times the photo's shorter side" in page


@pytest.mark.parametrize(
    ("shown", "own"),
    [
        ({"kind": "expression", "whole": False, "middle": 0.9}, " 'cifsel[expression]'"),
        ({"kind": "none", "whole": True, "middle": 1.0}, " cifsel"),
        ({"kind": "none", "whole": False, "middle": 0.6}, ""),
    ],
)
def test_the_lines_show_a_photo_as_predict_does(tiny_selfie, tmp_path, monkeypatch, shown, own):
    """The middle of the photo, without a word, would give other answers."""
    pytest.importorskip("mtcnn", reason="finds the points of a face")
    crop = {"margin": 0.9, "fallback": True} | shown
    described = dataclasses.replace(metadata.of(tiny_selfie, "onnx"), crop=crop)
    assert f"`pip install onnxruntime pillow{own}`" in usage.page("it.onnx", described)
    code = usage.code("it.onnx", described)
    assert len(code.splitlines()) <= 10
    pixels = np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", quality=95)
    monkeypatch.chdir(tmp_path)
    lines = {}
    exec(code.partition("import onnxruntime")[0], lines)
    photo = np.asarray(Image.open("photo.jpg"))
    expected = crops.Cropper(**crop).show([photo], ["photo.jpg"], described.input_size)
    np.testing.assert_array_equal(lines["square"], expected.images[0])


def test_sets_of_classes_can_be_made_from_an_export(tiny_selfie, monkeypatch):
    calibrated = dataclasses.replace(tiny_selfie, set_from={0.8: 0.25, 0.9: 0.125})
    described = metadata.of(calibrated, "onnx")
    assert described.to_json()["set_from"] == {"0.8": 0.25, "0.9": 0.125}
    page = " ".join(usage.page("it.onnx", described).split())
    assert "All classes of probability 0.125 or more, and the likeliest one" in page
    assert "the right class for at least 90% of new images" in page
    monkeypatch.setattr(coverage, "true_probabilities", lambda *_: np.linspace(0.1, 0.9, 9))
    assert coverage.thresholds(tiny_selfie.predictor, "run") == {0.8: 0.2, 0.9: 0.1}


@pytest.mark.parametrize("form", [*formats.FORMATS, "keras-h5", "cifsel"])
def test_the_page_has_ten_lines_of_python(tiny_selfie, form):
    described = metadata.of(tiny_selfie, form)
    code = usage.code("it.bin", described)
    assert 3 <= len(code.splitlines()) <= 10
    compile(code, "it", "exec")
    page = usage.page("it.bin", described)
    assert code in page
    if form not in ("keras-h5", "cifsel"):
        assert "1.5 times the side of the face. Without a face: refuse the photo" in page
        assert "unsure where the highest probability is below 0.7" in page
