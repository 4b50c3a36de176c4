"""A quickstart of tiny models: the files it leaves behind, and starting it again."""

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_run
from etils import epath
from PIL import Image
from whole_runs import FIGURES, read, run

from cifsel import build, sweep, workdir
from cifsel import config as config_lib
from cifsel.comparison import comparing
from cifsel.errors import UserError
from cifsel.evaluation import features
from cifsel.prediction import gradcam, trained_model
from cifsel.reports import run_report
from cifsel.selfie import run as selfie_run
from cifsel.workdir.checkpoints import Checkpoints
from configs import quickstart as quickstart_config

pytestmark = pytest.mark.slow
MODELS = ("mobilenet-seed0", "efficientnetv2-mini-seed0")
SCORES = {"accuracy", "accuracy_interval", "top5", "loss", "macro_f1", "ece", "coarse_accuracy"}


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """The folder of a quickstart, and its config. Only the first model has its figures and page
    drawn, and task 2 does as little as it can."""
    folder, config = tmp_path_factory.mktemp("quickstart"), quickstart_config.get_config()
    config.epochs, config.batch_size, config.image_size = 2, 40, 32
    config.selfie.update({"image_size": 32, "depths": (1.0,), "grids": (1,), "l2": (1e-1,)})
    config.selfie.update({"folds": 3, "repeats": 1, "permutations": 2, "leave_one_out": 0})
    draw_page = run_report.RunReport._draw_page

    def draw_first(report, *results):
        if report._run.name == MODELS[0]:
            draw_page(report, *results)

    compare = comparing.compare

    def compare_without_drawing(*arguments):
        with pytest.MonkeyPatch.context() as patch:
            tiny_run.leave_out_drawing(patch)
            patch.setattr(gradcam, "heat", lambda _, images, __: np.ones((len(images), 1, 1)))
            return compare(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_report.RunReport, "_draw_page", draw_first)
        patch.setattr(comparing, "compare", compare_without_drawing)
        patch.setattr(selfie_run, "write_report", lambda *_: None)
        patch.setattr(selfie_run, "run_learning_curve", lambda *_: ())
        comparison = sweep.quickstart(config, str(folder))
    names = {candidate.name for candidate in comparison.candidates}
    assert names == {"MobileNet", "EfficientNetV2-mini"}
    return folder, config


@pytest.mark.parametrize("model", MODELS)
def test_metrics_have_what_was_promised(finished, model):
    metrics = read(finished[0] / model)
    assert metrics["examples"] == {"train": 100, "val": 50, "test": 50}
    assert f"{metrics['model']}-seed0" == model
    for split in ("val", "test"):
        scores = metrics[split]
        assert set(scores) >= SCORES
        low, high = scores["accuracy_interval"]
        assert 0 <= low <= scores["accuracy"] <= high <= 1
        assert (len(scores["per_class"]), len(scores["per_coarse"])) == (50, 10)
    cost = metrics["cost"]
    assert cost["parameters"] == 3 * 3 * 3 * 6 + 12 + 3 * 3 * 6 * 12 + 24 + 12 * 50 + 50
    # Two convolutions of stride 4 and the head, at a multiplication and an addition each.
    least = 2 * (8 * 8 * 27 * 6 + 2 * 2 * 54 * 12 + 12 * 50)
    assert 0.8 * least < cost["flops_per_image"] < 3 * least
    assert cost["images_per_second"] > 0
    assert {"data", "weights", "training", "val", "test"} <= set(cost["seconds"])
    assert {"python", "jax", "flax", "optax", "numpy"} <= set(metrics["versions"])
    assert metrics["config"]["seed"] == 0
    assert metrics["git_commit"] is None or re.match(r"[0-9a-f]{40}", metrics["git_commit"])
    assert [entry["epoch"] for entry in metrics["training"]["history"]] == [1, 2]


@pytest.mark.parametrize("model", MODELS)
def test_predictions_reproduce_the_metrics(finished, model):
    folder, dataset = finished[0] / model, tiny_run.few_images()
    metrics = read(folder)
    with np.load(folder / "predictions.npz", allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    for split in ("val", "test"):
        labels, logits = found[f"{split}_labels"], found[f"{split}_logits"]
        np.testing.assert_array_equal(labels, getattr(dataset, split).labels)
        np.testing.assert_array_equal(found[f"{split}_ids"], getattr(dataset, split).ids)
        assert np.mean(logits.argmax(1) == labels) == metrics[split]["accuracy"]


def test_checkpoint_alone_reproduces_the_predictions(finished):
    folder = epath.Path(finished[0] / MODELS[1])
    trained = trained_model.restore(folder)
    logits = features.logits(trained.model, trained.view)(
        trained.variables, tiny_run.few_images().test.images
    )
    found = workdir.read_npz(folder / workdir.PREDICTIONS)
    np.testing.assert_allclose(found["test_logits"], logits, atol=1e-5)
    assert trained.class_names == tiny_run.few_images().class_names
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.meta()["config"] == workdir.read_json(folder / workdir.CONFIG)


def test_a_run_without_checkpoint_is_named(tmp_path):
    with pytest.raises(UserError, match="has no checkpoint"):
        trained_model.restore(epath.Path(tmp_path))
    assert not list(tmp_path.iterdir())


def test_config_and_figures_are_there(finished):
    folder, config = finished
    settings = json.loads((folder / MODELS[0] / "config.json").read_text())
    differing = config_lib.differences(config_lib.to_json(config), settings)
    assert {difference.split(":")[0] for difference in differing} == {"name", "task", "model"}
    for name in FIGURES | {"training_curves"}:
        with Image.open(folder / MODELS[0] / "figures" / f"{name}.png") as image:
            assert min(image.size) > 200
    assert not (folder / MODELS[0] / workdir.CACHE).exists()


def test_summaries_show_numbers_pictures_settings_and_parameters(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata
    from tensorboard.util import tensor_util

    folder = finished[0] / MODELS[0]
    by_run = {}
    for part in (".", "train", "val"):
        assert len(list((folder / part).glob("events.*"))) == 1
        by_run[part] = EventAccumulator(str(folder / part), size_guidance={"tensors": 0})
        by_run[part].Reload()
    events = by_run["."]

    def values(tag, run="."):
        records = by_run[run].Tensors(tag)
        return [tensor_util.make_ndarray(record.tensor_proto) for record in records]

    history = read(folder)["training"]["history"]
    for part in ("train", "val"):
        for name in ("loss", "accuracy"):
            expected = [entry[f"{part}_{name}"] for entry in history]
            assert values(name, part)[-len(history) :] == pytest.approx(expected)
    for name in ("learning_rate", "images_per_second", "grad_norm"):
        assert values(name) == pytest.approx([entry[name] for entry in history])
    for name in FIGURES | {"training_curves"}:
        *_, (_, _, encoded) = values(f"figures/{name}")
        assert Image.open(io.BytesIO(encoded)).format == "PNG"
    # All scalars are curves. A plot of a single number would be empty.
    scalars = [tag for tag in events.Tags()["tensors"] if "/" not in tag]
    singles = {"parameters", "report", metadata.SESSION_START_INFO_TAG}
    assert all(len(values(tag)) == len(history) for tag in scalars if tag not in singles)
    assert b"backbone/first/conv/kernel" in values("parameters")[0].item()
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    hparams = metadata.parse_session_start_info_plugin_data(content).hparams
    assert hparams["augment.shift"].number_value == 2


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_finished_run_says_so_shows_its_tables_and_does_nothing(
    finished, monkeypatch, capsys, tmp_path
):
    """Also under another name, and where it cannot be written."""
    folder, config = finished
    shutil.copytree(folder, tmp_path / "moved")
    monkeypatch.setattr(comparing, "compare", None)
    monkeypatch.setattr(build, "dataset", None)
    monkeypatch.setattr(workdir.files, "try_writing", None)
    for given in (str(folder), f"{folder}/", str(tmp_path / "moved")):
        before = times(Path(given))
        comparison = sweep.quickstart(config, given)
        assert {candidate.name for candidate in comparison.candidates} == {
            "MobileNet",
            "EfficientNetV2-mini",
        }
        said = capsys.readouterr().out
        assert said.count("is finished already") == 3  # and task 2
        for words in ("has this comparison already", "better model", "sure from", "macro F1"):
            assert words in said
        assert before == times(Path(given))


def test_a_run_that_changed_is_compared_again(finished, monkeypatch, tmp_path):
    folder, config = finished
    shutil.copytree(folder, tmp_path / "changed")
    path = tmp_path / "changed" / MODELS[0] / workdir.METRICS
    path.write_text(path.read_text() + " ")
    monkeypatch.setattr(comparing, "compare", lambda folders, output: output)
    assert sweep.quickstart(config, str(tmp_path / "changed")) == str(tmp_path / "changed")


def test_run_without_config_is_finished_for_its_own_config_only(finished, tmp_path):
    folder, config = finished
    shutil.copytree(folder / MODELS[0], tmp_path / "run")
    (tmp_path / "run" / workdir.CONFIG).unlink()
    own = sweep._task1_config(config, config.models[0])
    assert run(own, tmp_path / "run") == read(tmp_path / "run")
    own.seed = 7
    with pytest.raises(UserError, match=r"another config \(seed: 0 -> 7 in metrics.json"):
        run(own, tmp_path / "run")


def test_checkpoint_of_another_run_is_not_resumed(finished, tmp_path):
    folder, config = finished
    shutil.copytree(folder / MODELS[0] / "checkpoints", tmp_path / "checkpoints")
    other = sweep._task1_config(config, config.models[0])
    other.seed = 7
    with pytest.raises(UserError, match=r"another run than this run \(seed: 0 -> 7\)"):
        run(other, tmp_path)
    assert not (tmp_path / workdir.METRICS).exists()


def test_quickstart_ends_with_a_report_and_a_pointer_to_the_better_model(finished):
    folder = finished[0]
    best = json.loads((folder / workdir.BEST).read_text())
    assert best["run"] in MODELS
    assert (folder / best["run"] / best["checkpoint"]).is_dir()
    metrics = read(folder / best["run"])
    assert best["validation_accuracy"] == metrics["val"]["accuracy"]
    assert best["class_names"] == list(tiny_run.few_images().class_names)
    for name in ("report.html", "report.md", "comparison.json"):
        assert (folder / name).stat().st_size > 1000
    result = json.loads((folder / "comparison.json").read_text(), parse_constant=pytest.fail)
    accuracies = {
        Path(one["runs"][0]).name: one["test"]["accuracy"] for one in result["candidates"]
    }
    for model in MODELS:
        assert accuracies[model]["mean"] == read(folder / model)["test"]["accuracy"]
