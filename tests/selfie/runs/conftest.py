"""A tiny network, drawn faces as files, and runs without what takes long."""

import json

import pytest
import tiny_run
from etils import epath
from PIL import Image
from tiny_selfie import MODEL, SIZE

from cifsel import build
from cifsel import config as config_lib
from cifsel.data import drawn_faces
from cifsel.models import classifier
from cifsel.selfie import run as run_module
from cifsel.selfie.protocol import pretrained
from cifsel.workdir.checkpoints import Checkpoints
from cifsel.workdir.model_meta import ClassifierMeta
from configs import effnet


@pytest.fixture(autouse=True, scope="module")
def tiny_network(build_tiny):
    """In place of the real one, wherever it is built."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (build, classifier, pretrained):
            patch.setattr(module, "build", build_tiny)
        yield


@pytest.fixture(scope="module")
def task1(variables_of, tiny_network, tmp_path_factory):
    """A comparison's folder, with the workdir of a run of task 1 below."""
    folder = tmp_path_factory.mktemp("task1")
    config = effnet.get_config()
    config.update({"model": MODEL, "image_size": SIZE})
    meta = ClassifierMeta(
        config=config_lib.to_json(config),
        class_names=tuple(f"class_{i}" for i in range(7)),
        coarse_names=("all",),
        coarse_of=(0,) * 7,
        image_side=32,
        fingerprint="0",
        weights=None,
    )
    variables = variables_of(classifier.build(MODEL, num_classes=7), SIZE)
    with Checkpoints(epath.Path(folder / "run")) as saved:
        saved.save(3, model=variables, meta=meta.to_json())
    (folder / "best.json").write_text(json.dumps({"run": "run", "model": MODEL}))
    return folder


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Eight happy and eight sad faces as files."""
    folder = tmp_path_factory.mktemp("faces")
    drawn = drawn_faces.draw_faces(per_class=8)
    for name, image in zip(drawn.names, drawn.images, strict=True):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / name)
    return folder


@pytest.fixture
def no_curve(monkeypatch):
    """Without the learning curve, which takes as long as all else."""
    monkeypatch.setattr(run_module, "run_learning_curve", lambda *_: ())


@pytest.fixture
def without_report(no_curve, monkeypatch):
    monkeypatch.setattr(run_module, "write_report", lambda *_: None)


@pytest.fixture
def without_charts(no_curve, monkeypatch):
    """The report has photos, but its charts are not drawn."""
    tiny_run.leave_out_drawing(monkeypatch)
