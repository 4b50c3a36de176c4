"""Inputs, metadata and replaced files of exports. Nothing is converted here."""

import dataclasses
import json
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from cifsel import build
from cifsel import export as export_command
from cifsel.data.photos import crops
from cifsel.errors import UserError
from cifsel.evaluation import features
from cifsel.models import classifier
from cifsel.models.weights import h5_file, keras_h5
from cifsel.prediction import coverage, predictor
from cifsel.prediction.exports import (
    cifsel_format,
    computation,
    formats,
    int8,
    keras_layout,
    metadata,
    output,
    parity,
    stablehlo,
    usage,
)
from cifsel.prediction.exports.source import Source
from cifsel.prediction.selfie_model import SelfieModel
from cifsel.prediction.trained_model import TrainedModel
from cifsel.workdir.model_meta import Backbone, Crop, SelfieMeta

NAMES = ("cat", "dog, wet", "bird")


def source_of(trained):
    trained = dataclasses.replace(trained, digest="0" * 64)
    return Source(trained, predictor.of(trained), "float32")


@pytest.fixture(scope="module")
def tiny_task1(build_tiny, variables_of):
    """(view, side of the images) -> a source with a tiny classifier."""

    def make(view, side):
        model = build_tiny(num_classes=len(NAMES), hidden=16)
        variables = variables_of(model, view.image_size)
        return source_of(TrainedModel(model, variables, view, side, NAMES, ConfigDict(), "of data"))

    return make


@pytest.fixture(scope="module")
def tiny_selfie(build_tiny, variables_of):
    model, view = build_tiny(num_classes=3), features.View(32, "bicubic", mirror=True)
    places = (("first", 3), ("second", 2))
    width = 9 * 6 + 4 * 12
    kernel = jnp.asarray(np.random.default_rng(1).normal(0, 0.3, (width, 3)), jnp.float32)
    meta = SelfieMeta(
        l2=0.01,
        temperature=1.7,
        places=places,
        backbone=Backbone("mobilenet", 1.0),
        class_names=NAMES,
        image_size=32,
        resize="bicubic",
        mirror=True,
        crop=Crop("face", 1.5, fallback=False),
        sure_from=0.7,
        unlike_from=None,
        init_from="imagenet",
        config={},
    )
    bias = jnp.asarray([0.3, 0.0, -0.2])
    return source_of(SelfieModel(meta, model, variables_of(model, 32), view, kernel, bias))


def assert_same(made, expected):
    assert expected.std(0).max() > 0.02  # The images differ.
    np.testing.assert_allclose(made, expected, atol=2e-6)


@pytest.mark.parametrize(
    ("method", "side", "mirror"),
    [("bicubic", 20, True), ("bilinear", 48, False), ("nearest", 16, True), ("bicubic", 32, False)],
)
def test_the_computation_of_task_1_is_that_of_the_predictor(tiny_task1, method, side, mirror):
    source = tiny_task1(features.View(32, method, mirror), side)
    images = parity.images_for_check(side)
    assert images.shape == (8, side, side, 3)
    made = jax.jit(computation.probabilities(source))(images)
    assert_same(made, source.predictor.probabilities(images))


def test_the_computation_of_task_2_is_that_of_the_predictor(tiny_selfie):
    images = parity.images_for_check(32)
    made = jax.jit(computation.probabilities(tiny_selfie))(images)
    assert_same(made, tiny_selfie.predictor.probabilities(images))


def test_stablehlo_of_any_batch_and_three_platforms(tiny_task1):
    source = tiny_task1(features.View(32, "bicubic", mirror=True), 20)
    export = formats.make(source, "stablehlo")
    assert export.difference < 2e-6
    assert jax.export.deserialize(bytearray(export.content)).platforms == stablehlo.PLATFORMS


def test_another_answer_is_refused(tiny_selfie):
    exact = tiny_selfie.predictor.probabilities
    assert parity.check(lambda images: exact(images) + 9e-5, tiny_selfie.predictor) > 8e-5
    for wrong in (2e-4, np.nan):
        with pytest.raises(UserError, match=r"the export differs from cifsel\.predict by"):
            parity.check(lambda images, wrong=wrong: exact(images) + wrong, tiny_selfie.predictor)


@pytest.mark.parametrize(
    ("name", "options"), [("mobilenet", {"alpha": 0.25}), ("efficientnetv2-mini", {})]
)
def test_weights_in_kerass_layout_come_back_bit_for_bit(name, options, variables_of, tmp_path):
    model = classifier.build(name, num_classes=3, **options)
    variables = variables_of(model, 32)
    view = features.View(32, "bicubic", mirror=False)
    source = source_of(TrainedModel(model, variables, view, 32, NAMES, ConfigDict(), ""))
    (tmp_path / "weights.h5").write_bytes(formats.make(source, "keras-h5").content)
    tensors = h5_file.read_tensors(tmp_path / "weights.h5")
    back = keras_h5.convert(tensors, variables, model=name, head=False, path="weights.h5")
    for kind in ("params", "batch_stats"):
        before, after = variables[kind]["backbone"], back[kind]["backbone"]
        assert jax.tree.all(jax.tree.map(np.array_equal, before, after))


def test_blocks_of_kerass_layers():
    names = (
        "conv1_bn",
        "conv_pad_2",
        "conv_pw_13_relu",
        "stem_activation",
        "block2a_add",
        "top_bn",
    )
    blocks = ["stem", "block2", "block13", "stem", "block2a", "top"]
    assert [keras_layout.block_of(name) for name in names] == blocks


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
        "crop": {"kind": "face", "margin": 1.5, "fallback": False, "whole": False},
        "checkpoint_sha256": "0" * 64,
        "weights": "float32",
    }
    texts = metadata.of(tiny_task1(features.View(32, "bicubic", False), 20), "keras").to_texts()
    assert json.loads(texts["class_names"]) == list(NAMES)
    assert (texts["sure_from"], texts["input_size"]) == ("null", "20")


def test_the_page_says_what_an_expression_crop_is(tiny_selfie):
    crop = {"kind": "expression", "margin": 0.9, "fallback": True, "whole": False}
    described = dataclasses.replace(metadata.of(tiny_selfie, "onnx"), crop=crop)
    page = " ".join(usage.page("it.onnx", described).split())
    assert "the lower part of faces, moved to one place, in grey levels of mean 128" in page
    assert "Without a face: the middle square" in page


@pytest.mark.parametrize(("kind", "whole"), [("expression", False), ("none", True)])
def test_the_lines_show_a_photo_as_predict_does(tiny_selfie, tmp_path, monkeypatch, kind, whole):
    """The middle of the photo, without a word, would give other answers."""
    pytest.importorskip("mtcnn", reason="finds the points of a face")
    crop = {"kind": kind, "margin": 0.9, "fallback": True, "whole": whole}
    described = dataclasses.replace(metadata.of(tiny_selfie, "onnx"), crop=crop)
    own = "cifsel" if whole else "'cifsel[expression]'"
    assert f"`pip install onnxruntime pillow {own}`" in usage.page("it.onnx", described)
    code = usage.code("it.onnx", described)
    assert len(code.splitlines()) <= 10
    pixels = np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", quality=95)
    monkeypatch.chdir(tmp_path)
    lines = {}
    exec(code.partition("import onnxruntime")[0], lines)
    shown = crops.Cropper(kind, 0.9, fallback=True, whole=whole).show(
        [np.asarray(Image.open("photo.jpg"))], ["photo.jpg"], described.input_size
    )
    np.testing.assert_array_equal(lines["square"], shown.images[0])


def test_sets_of_classes_can_be_made_from_an_export(tiny_selfie, monkeypatch):
    calibrated = dataclasses.replace(tiny_selfie, set_from={0.8: 0.25, 0.9: 0.125})
    described = metadata.of(calibrated, "onnx")
    assert described.to_json()["set_from"] == {"0.8": 0.25, "0.9": 0.125}
    page = " ".join(usage.page("it.onnx", described).split())
    assert "All classes of probability 0.125 or more, and the likeliest one" in page
    assert "the right class for at least 90% of new images" in page
    monkeypatch.setattr(coverage, "true_probabilities", lambda *_: np.linspace(0.1, 0.9, 9))
    assert coverage.thresholds(tiny_selfie.predictor, "run") == {0.8: 0.2, 0.9: 0.1}


def test_the_command_knows_the_formats():
    known = (*formats.FORMATS, cifsel_format.NAME)
    assert known == export_command._FORMATS


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


# --- which files are written ---


@pytest.fixture
def export(tiny_selfie):
    return output.Export(b"content", metadata.of(tiny_selfie, "onnx"), 1e-7)


def test_only_an_export_is_replaced(export, tmp_path):
    path = tmp_path / "new" / "it.onnx"
    output.check(path, overwrite=False)
    output.write(path, export)
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "it.onnx",
        "it.onnx.json",
        "it.onnx.md",
    ]
    assert json.loads((tmp_path / "new/it.onnx.json").read_text())["largest_difference"] == 1e-7
    output.check(path, overwrite=False)
    output.write(path, dataclasses.replace(export, content=b"other"))
    output.check(path, overwrite=False)
    path.write_bytes(b"of the user")
    with pytest.raises(UserError, match="is there, and is no unchanged export of cifsel"):
        output.check(path, overwrite=False)
    output.check(path, overwrite=True)
    with pytest.raises(UserError, match="is a folder"):
        output.check(path.parent, overwrite=True)


def test_nothing_is_left_of_a_file_that_cannot_be_written(export, tmp_path, monkeypatch):
    monkeypatch.setattr(output.workdir, "write_json", lambda *_: pytest.fail("after the file"))
    (tmp_path / "it.onnx").mkdir()
    with pytest.raises(UserError, match="could not be written"):
        output.write(tmp_path / "it.onnx", export)
    assert [file.name for file in tmp_path.iterdir()] == ["it.onnx"]


# --- int8 ---


def test_int8_needs_the_validation_images(tiny_selfie, tiny_task1, monkeypatch):
    described = metadata.of(tiny_selfie, "onnx")
    with pytest.raises(UserError, match="a classifier of own photos has none"):
        int8.quantize(b"", tiny_selfie, described)
    source = tiny_task1(features.View(32, "bicubic", mirror=False), 20)

    def fail(_):
        raise UserError("no such folder")

    monkeypatch.setattr(build, "dataset", fail)
    with pytest.raises(UserError, match=r"cannot be had \(no such folder\)"):
        int8.quantize(b"", source, described)
    monkeypatch.setattr(build, "dataset", lambda _: SimpleNamespace(fingerprint="another"))
    with pytest.raises(UserError, match="the data are others now"):
        int8.quantize(b"", source, described)


def test_int8_may_cost_less_than_three_thousandths(tiny_task1, monkeypatch):
    source = tiny_task1(features.View(32, "bicubic", mirror=False), 20)
    val = SimpleNamespace(images=np.zeros((1000, 20, 20, 3), np.uint8), labels=np.arange(1000) % 3)
    dataset = SimpleNamespace(fingerprint="of data", val=val)
    monkeypatch.setattr(build, "dataset", lambda _: dataset)
    monkeypatch.setattr(int8, "_quantised", lambda *_: b"after")

    def answer(right):
        """Right for that many of the images."""

        def answers(images):
            start = answers.done
            answers.done += len(images)
            labels = np.arange(start, answers.done) % 3
            return np.eye(3)[np.where(np.arange(start, answers.done) < right, labels, labels - 1)]

        answers.done = 0
        return answers

    for right, refused in ((898, False), (897, True)):
        files = {b"before": answer(900), b"after": answer(right)}
        monkeypatch.setattr(int8.onnx_format, "answers", files.__getitem__)
        if refused:
            with pytest.raises(UserError, match=r"from 90\.0 to 89\.7 %"):
                int8.quantize(b"before", source, metadata.of(source, "onnx"))
        else:
            made = int8.quantize(b"before", source, metadata.of(source, "onnx"))
            assert (made.before, made.after, made.content) == (0.9, 0.898, b"after")


# --- the command ---


def test_flags_that_do_not_fit(run, tmp_path):
    said, status = run("--checkpoint=x", "--format=keras", f"--output={tmp_path}/it.onnx")
    assert (status, said.count("\n")) == (2, 1)
    assert "its name ends in .keras for the whole model, or in .h5" in said
    said, status = run("--checkpoint=x", "--format=keras", "--quantize=int8", "--output=it.keras")
    assert (said, status) == (
        "error: --quantize=int8 is for --format=onnx and cifsel, not keras\n",
        2,
    )


def test_what_is_missing_is_one_line(run, tiny_task1, monkeypatch, tmp_path):
    source = tiny_task1(features.View(32, "bicubic", mirror=False), 20)
    monkeypatch.setattr("cifsel.prediction.exports.source.load", lambda _: source)
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    said, status = run("--checkpoint=x", "--format=onnx", f"--output={tmp_path}/it.onnx")
    assert status == 2
    assert said.endswith("which is not installed: pip install 'cifsel[onnx]'\n")
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_how_close_it_is(run, tiny_task1, monkeypatch, tmp_path):
    source = tiny_task1(features.View(32, "bicubic", mirror=False), 20)
    source = dataclasses.replace(source, computes_in="bfloat16")
    monkeypatch.setattr("cifsel.prediction.exports.source.load", lambda _: source)
    path = tmp_path / "it.bin"
    said, status = run("--checkpoint=x", "--format=stablehlo", f"--output={path}")
    assert status == 0
    assert "the run computes in bfloat16, the export in float32" in said
    assert "largest difference to cifsel.predict: " in said
    assert str(path) in said.replace("\n", "")
    path.write_bytes(b"")
    said, status = run("--checkpoint=x", "--format=stablehlo", f"--output={path}")
    assert status == 2
    assert "give another --output, or --overwrite" in said
