"""Checkpoints of both tasks answer as their models do, and what is no checkpoint is one line."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from tiny_model import CROP, selfie_meta

from cifsel import build
from cifsel import config as config_lib
from cifsel.data import transforms
from cifsel.data.photos import crops
from cifsel.errors import UserError
from cifsel.evaluation import features
from cifsel.models import classifier
from cifsel.prediction import gradcam, predictor
from cifsel.workdir.checkpoints import FOLDER, Checkpoints
from cifsel.workdir.model_meta import SELFIE, ClassifierMeta
from configs import effnet

MODEL, SIZE = "efficientnetv2-mini", 64
LAYER = "first"  # Of the tiny network that stands in for MODEL.
META = selfie_meta(MODEL, [[LAYER, 2]], SIZE, ["happy", "sad", "tired"])
WIDTH = 4 * 6  # of LAYER's channels, in 2 x 2 cells
NAMES = [f"class_{i}" for i in range(7)]


@pytest.fixture(autouse=True, scope="module")
def tiny_network(build_tiny):
    """In place of MODEL. Other models are what they are."""
    real = classifier.build
    with pytest.MonkeyPatch.context() as patch:
        for module in (build, classifier):
            patch.setattr(
                module,
                "build",
                lambda name, **kwargs: (build_tiny if name == MODEL else real)(name, **kwargs),
            )
        yield


@pytest.fixture(scope="module")
def variables(variables_of, tiny_network):
    return variables_of(classifier.build(MODEL, num_classes=len(NAMES)), SIZE)


@pytest.fixture(scope="module")
def make(variables):
    """(folder, changes of META) -> the folder, as the workdir of a run of task 2."""

    def write(folder, *, without="", width=WIDTH, **changes):
        kernel = np.random.default_rng(0).normal(0, 0.3, (width, 3)).astype(np.float32)
        tree = {kind: {"backbone": variables[kind]["backbone"]} for kind in variables}
        tree["head"] = {"kernel": kernel, "bias": np.array([0.2, -0.1, 0.0], np.float32)}
        meta = META | changes
        meta.pop(without, None)
        with Checkpoints(epath.Path(folder)) as saved:
            saved.save(0, model=tree, meta=meta)
        return folder

    return write


@pytest.fixture(scope="module")
def selfie(make, tmp_path_factory):
    return make(tmp_path_factory.mktemp("selfie"))


@pytest.fixture(scope="module")
def task1(variables, tmp_path_factory):
    """A comparison's folder, with the workdir of a run of task 1 below."""
    folder = tmp_path_factory.mktemp("task1")
    config = effnet.get_config()
    config.update({"model": MODEL, "image_size": SIZE, "resize": "bilinear", "mirror": True})
    meta = ClassifierMeta(
        config_lib.to_json(config), tuple(NAMES), ("all",), (0,) * len(NAMES), 32, "none", None
    ).to_json()
    with Checkpoints(epath.Path(folder / "best run")) as saved:
        saved.save(3, model=variables, meta=meta)
    (folder / "best.json").write_text(json.dumps({"run": "best run", "model": MODEL}))
    return folder


@pytest.fixture(scope="module")
def photos():
    """Nine of different sizes and shapes."""
    rng = np.random.default_rng(0)
    sizes = [(90, 70), (64, 64), (40, 100)] * 3
    smooth = [rng.integers(0, 256, (8, 8, 3), np.uint8).repeat(16, 0).repeat(16, 1) for _ in sizes]
    return [image[:height, :width] for image, (height, width) in zip(smooth, sizes, strict=True)]


def names(photos):
    return [f"{i}.jpg" for i in range(len(photos))]


def softmax(logits):
    powers = np.exp(np.asarray(logits, np.float64))
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.slow
def test_answers_of_task_2_are_those_of_its_parts(selfie, photos, variables):
    made = predictor.load(str(selfie))
    assert (made.task, made.class_names) == (SELFIE, ("happy", "sad", "tired"))
    shown = made.show(photos, names(photos))
    np.testing.assert_array_equal(shown, [crops.centre(photo, SIZE) for photo in photos])
    model = classifier.build(MODEL, num_classes=1)
    view = features.View(SIZE, "bicubic", mirror=True)
    cells = features.cells(model, view, [(LAYER, 2)])(variables, jnp.asarray(shown))
    kernel = np.random.default_rng(0).normal(0, 0.3, (WIDTH, 3)).astype(np.float32)
    expected = softmax((np.asarray(cells) @ kernel + [0.2, -0.1, 0.0]) / 1.6)
    probabilities = made.probabilities(shown)
    assert (probabilities.shape, probabilities.dtype) == ((9, 3), np.float64)
    assert probabilities.std(0).max() > 0.1
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)
    for row in (0, 8):
        np.testing.assert_allclose(
            made.probabilities(shown[[row]]), probabilities[[row]], atol=1e-5
        )


def test_photos_are_shown_as_small_as_the_images_of_task_1(task1, variables, photos, tmp_path):
    with Checkpoints(epath.Path(task1 / "best run"), read_only=True) as made:
        meta = made.meta() | {"image_side": 48}
    with Checkpoints(epath.Path(tmp_path)) as saved:
        saved.save(3, model=variables, meta=meta)
    shown = predictor.load(str(tmp_path)).show(photos, names(photos))
    assert shown.shape == (9, 48, 48, 3)


@pytest.mark.slow
def test_answers_of_task_1_are_those_of_its_model(task1, photos, variables):
    made = predictor.load(str(task1))
    assert (made.task, made.class_names) == (predictor.TASK1, tuple(NAMES))
    shown = made.show(photos, names(photos))
    assert shown.shape == (9, 32, 32, 3)
    large = transforms.resize(jnp.asarray(shown), SIZE, "bilinear")
    model = classifier.build(MODEL, num_classes=len(NAMES))
    apply = jax.jit(model.apply)
    logits = [apply(variables, way) for way in (large, large[:, :, ::-1])]
    probabilities = made.probabilities(shown)
    np.testing.assert_allclose(probabilities, softmax(np.mean(logits, 0)), atol=1e-4)
    assert not made.unsure(probabilities).any()


@pytest.mark.parametrize(
    ("least", "expected"), [(0.7, [False, False, True]), (0.0, [False] * 3), (None, [True] * 3)]
)
def test_below_what_is_believed_it_is_unsure(selfie, least, expected):
    made = dataclasses.replace(predictor.load(str(selfie)), sure_from=least)
    probabilities = np.array([[0.1, 0.9, 0.0], [0.7, 0.2, 0.1], [0.4, 0.3, 0.3]])
    assert made.unsure(probabilities).tolist() == expected


@pytest.mark.slow
def test_explanations_are_what_the_model_sees(selfie, task1, photos):
    for folder, cells in ((selfie, 16), (task1, 4)):
        made = predictor.load(str(folder))
        shown = made.show(photos[:3], names(photos[:3]))
        classes = np.array([0, 1, 1])
        heat = made.heat(shown, classes)
        assert heat.shape == (3, cells, cells)
        np.testing.assert_allclose(heat.max(), 1.0, atol=1e-6)
        assert heat.min() >= 0
        np.testing.assert_allclose(made.heat(shown[1:2], classes[1:2]), heat[1:2], atol=1e-5)
        pictures = made.explain(shown, classes)
        assert pictures.dtype == np.uint8
        np.testing.assert_array_equal(pictures, gradcam.overlay(shown, heat, SIZE))


def test_restoring_compiles_nothing(selfie, caplog):
    with jax.log_compiles():
        jax.jit(lambda x: x * 3)(1.0)
        assert "Finished XLA compilation" in caplog.text
        caplog.clear()
        predictor.load(str(selfie))
    assert "Finished XLA compilation" not in caplog.text


@pytest.mark.slow
def test_photo_without_a_face(make, tmp_path):
    pytest.importorskip("cv2", reason="looks for faces")
    grey = np.full((80, 80, 3), 128, np.uint8)
    crop = {"kind": "face", "margin": 1.2, "middle": 1.0}
    made = predictor.load(str(make(tmp_path / "strict", crop=crop | {"fallback": False})))
    with pytest.raises(predictor.NoFaceError, match=r"^b\.jpg: no face found"):
        made.show([grey], ["b.jpg"])
    made = predictor.load(str(make(tmp_path / "lenient", crop=crop | {"fallback": True})))
    assert made.show([grey], ["b.jpg"]).shape == (1, SIZE, SIZE, 3)


# --- what cannot be used ---


def refusal(folder):
    with pytest.raises(UserError) as caught:
        predictor.load(str(folder))
    message = str(caught.value)
    assert message.isprintable()
    assert str(folder) in message
    return message


def test_folders_without_a_model(tmp_path):
    assert "is not there" in refusal(tmp_path / "nowhere")
    assert "neither checkpoints/ nor best.json" in refusal(tmp_path)
    assert list(tmp_path.iterdir()) == []  # nothing was made


def test_comparisons_that_lead_nowhere(tmp_path, task1):
    (tmp_path / "best.json").write_text('{"run": "gone"}')
    assert "leads to" in refusal(tmp_path)
    (tmp_path / "best.json").write_text('{"model": "mobilenet"}')
    assert "does not name a run" in refusal(tmp_path)
    (tmp_path / "best.json").write_text("{")
    assert "not JSON" in refusal(tmp_path)
    (tmp_path / "best.json").write_text(json.dumps({"run": str(task1 / "best run")}))
    assert predictor.load(str(tmp_path)).class_names == tuple(NAMES)


def test_run_that_died_while_it_saved(selfie, tmp_path):
    half = tmp_path / FOLDER / "0.orbax-checkpoint-tmp-1"
    half.mkdir(parents=True)
    assert "no checkpoint" in refusal(tmp_path)


@pytest.mark.parametrize("part", ["model", "meta"])
def test_damaged_checkpoints(make, tmp_path, part):
    make(tmp_path)
    for path in Path(tmp_path, FOLDER, "0", part).rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:5])
    assert repr(part) in refusal(tmp_path)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"task": "task3"}, "'task3'"),
        ({"without": "task"}, "there is no 'coarse_names'"),
        ({"without": "temperature"}, "there is no 'temperature'"),
        ({"temperature": "warm"}, "temperature is 'warm'; expected float, 0.001 to 1000"),
        ({"class_names": ["happy", 1, "tired"]}, "class_names has 1 in it; expected str"),
        ({"places": [[LAYER]]}, "places has ['first'] in it; expected a layer and int"),
        ({"backbone": {"model": "resnet", "alpha": 1.0}}, "resnet"),
        pytest.param(
            {"backbone": {"model": "mobilenet", "alpha": 0.25}, "places": [["block3", 2]]},
            "another",
            marks=pytest.mark.slow,
        ),
        ({"places": [["block9z", 2]]}, "block9z"),
        ({"width": WIDTH + 1}, "(25, 3), not (24, 3)"),
        ({"crop": CROP | {"kind": "hand"}}, "hand"),
        ({"crop": CROP | {"middle": 1.5}}, "middle is 1.5; expected float, 0.25 to 1"),
    ],
)
def test_checkpoints_that_are_not_understood(make, tmp_path, changes, expected):
    with pytest.raises(UserError) as caught:
        predictor.load(str(make(tmp_path, **changes)))
    assert expected in str(caught.value)
    assert str(caught.value).isprintable()
