"""Checkpoints to export, of both tasks, and the command that exports them."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from ml_collections import ConfigDict
from tiny_model import selfie_meta
from tiny_sources import NAMES, source_of

from cifsel import config as config_lib
from cifsel import export
from cifsel.evaluation import features
from cifsel.models import classifier
from cifsel.prediction.selfie_model import SelfieModel
from cifsel.prediction.trained_model import TrainedModel
from cifsel.runtime import command
from cifsel.workdir.checkpoints import Checkpoints
from cifsel.workdir.model_meta import Backbone, ClassifierMeta, Crop, SelfieMeta
from configs import mobilenet

SHOWN, SIZE = 24, 32  # pixels of the images, and of the model's input
PLACES = [["stem", 3], ["block5", 1], ["block13", 1]]
ALPHA = 0.25


def save_task1(folder, variables, **changes):
    """Writes the checkpoint of a run of task 1 whose images have SHOWN pixels."""
    config = mobilenet.get_config()
    config.update({"image_size": SIZE, "alpha": ALPHA, "mirror": True} | changes)
    meta = ClassifierMeta(config_lib.to_json(config), NAMES, (), (), SHOWN, "none", None)
    with Checkpoints(epath.Path(folder)) as saved:
        saved.save(3, model=variables, meta=meta.to_json())
    return folder


@pytest.fixture(scope="session", name="save_task1")
def _save_task1():
    """`save_task1`, for test files that do not import it."""
    return save_task1


@pytest.fixture(scope="session", name="save_selfie")
def _save_selfie():
    """`save_selfie`, for test files that do not import it."""
    return save_selfie


def save_selfie(folder, variables, width, places, *, model="mobilenet", size=SIZE):
    """Writes the checkpoint of a run of task 2."""
    rng = np.random.default_rng(0)
    tree = {kind: {"backbone": variables[kind]["backbone"]} for kind in variables}
    kernel = rng.normal(0, 1 / np.sqrt(width), (width, len(NAMES))).astype(np.float32)
    tree["head"] = {"kernel": kernel, "bias": np.array([0.2, -0.1, 0.0], np.float32)}
    meta = selfie_meta(model, places, size, list(NAMES), ALPHA)
    with Checkpoints(epath.Path(folder)) as saved:
        saved.save(0, model=tree, meta=meta)
    return folder


@pytest.fixture(scope="module")
def variables(variables_of):
    """Of a narrow MobileNet."""
    return variables_of(classifier.build("mobilenet", num_classes=len(NAMES), alpha=ALPHA), SIZE)


@pytest.fixture(scope="module")
def task1(variables, tmp_path_factory):
    return save_task1(tmp_path_factory.mktemp("task1"), variables)


@pytest.fixture(scope="module")
def selfie(variables, tmp_path_factory):
    width = 9 * 8 + 64 + 256
    return save_selfie(tmp_path_factory.mktemp("selfie"), variables, width, PLACES)


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
        crop=Crop("face", 1.5, fallback=False, middle=1.0),
        sure_from=0.7,
        unlike_from=None,
        init_from="imagenet",
        config={},
    )
    bias = jnp.asarray([0.3, 0.0, -0.2])
    return source_of(SelfieModel(meta, model, variables_of(model, 32), view, kernel, bias))


@pytest.fixture
def run(monkeypatch, capsys):
    """(arguments) -> what it complained of, its exit status."""
    monkeypatch.setattr(command, "start_terminal", lambda: None)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["export", *map(str, arguments)])
        status = 0
        try:
            export.main()
        except SystemExit as error:
            status = error.code
        out, err = capsys.readouterr()
        return out + err, status

    return call
