"""Whole runs of each recipe, with a tiny model on a few drawn images."""

import jax
import jax.numpy as jnp
import pytest
import tiny_run
from etils import epath
from whole_runs import FIGURES, read, run

from cifsel import build
from cifsel.models import classifier
from cifsel.prediction import trained_model
from cifsel.reports import run_report
from cifsel.training import samples, steps
from cifsel.workdir.checkpoints import Checkpoints
from configs import effnet

pytestmark = pytest.mark.slow


def drawn_config(recipe="finetune", **fields):
    config = effnet.get_config(recipe)
    config.update(tiny_run.SMALL | fields)
    return config


@pytest.fixture
def drawn(monkeypatch):
    """Names of the figures, which take seconds to draw and are not drawn here."""
    names = []
    tiny_run.leave_out_drawing(monkeypatch)

    def write(page, *_):
        names.extend(shown.name for shown in (*page.charts, *page.galleries))

    monkeypatch.setattr(run_report.run_page.Page, "write", write)
    monkeypatch.setattr(run_report.RunReport, "_draw_samples", lambda *_: None)
    return names


@pytest.fixture
def without_report(monkeypatch):
    tiny_run.leave_out_report(monkeypatch)


def test_probe_of_a_whole_run_is_the_best_head(tiny, drawn, tmp_path):
    metrics = run(drawn_config("probe"), tmp_path)
    assert metrics == read(tmp_path)
    assert metrics["training"]["history"] == []
    chosen = metrics["probe"]["chosen"]
    assert chosen["val_loss"] == min(trial["val_loss"] for trial in metrics["probe"]["trials"])
    # The head that was saved and used is the one that was found.
    assert metrics["val"]["loss"] == pytest.approx(chosen["val_loss"], abs=1e-3)
    assert metrics["val"]["accuracy"] == pytest.approx(chosen["val_accuracy"])
    assert set(drawn) >= FIGURES | {"probe_l2"}
    assert "training_curves" not in drawn


@pytest.fixture
def sides_of_steps(monkeypatch):
    """Sides of the images that the network is traced with in training steps."""
    sides, make_scan, preprocess = set(), steps.make_scan, classifier.preprocess

    def recorded(images, name):
        sides.add(images.shape[1])
        return preprocess(images, name)

    def make(*arguments):
        scan = make_scan(*arguments)

        def call(*batch):
            with monkeypatch.context() as patch:
                patch.setattr(classifier, "preprocess", recorded)
                return scan(*batch)

        return call

    monkeypatch.setattr(steps, "make_scan", make)
    return sides


def test_finetuning_starts_from_the_probe_and_its_steps_may_see_smaller_images(
    tiny, without_report, sides_of_steps, tmp_path
):
    fields = {"image_size": 64, "epochs": 1, "learning_rate": 1e-9, "probe_l2": (1e-2, 1e-1)}
    config = drawn_config(train_size=32, **fields)
    images = samples.training_samples(
        build.objective(config), 0, tiny_run.few_images().train, 50
    ).images
    assert images.shape[1:] == (32, 32, 3)
    small = run(config, tmp_path)
    assert small["config"]["train_size"] == 32
    assert trained_model.restore(epath.Path(tmp_path)).view.image_size == 64
    # The probe, like all scores, is at 64 pixels. The steps are not.
    assert sides_of_steps == {32}
    assert small["val"]["loss"] == pytest.approx(small["probe"]["chosen"]["val_loss"], abs=1e-3)


def test_frozen_backbone_stays_as_it_was_and_the_head_does_not(tiny, without_report, tmp_path):
    """With maps of features instead of images, as nothing augments them."""
    config = drawn_config("notebook", model="mobilenet", train_examples=0, test_examples=0)
    config.augment.update({"flip": False, "rotate": 0.0, "zoom": 0.0, "contrast": 0.0})
    initial = build.pretrained(config, 50).variables
    run(config, tmp_path)
    with Checkpoints(epath.Path(tmp_path)) as checkpoints:
        found = checkpoints.model(initial)
    for part in ("backbone", "head"):
        pairs = zip(*(jax.tree.leaves(v["params"][part]) for v in (initial, found)), strict=True)
        assert {bool(jnp.array_equal(a, b)) for a, b in pairs} == {part == "backbone"}
