"""The computation of an export answers as the predictor does, else it is refused."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from tiny_sources import NAMES, source_of

from cifsel.errors import UserError
from cifsel.evaluation import features
from cifsel.models import classifier
from cifsel.models.weights import h5_file, keras_h5
from cifsel.prediction.exports import computation, formats, keras_layout, parity, stablehlo
from cifsel.prediction.trained_model import TrainedModel


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
