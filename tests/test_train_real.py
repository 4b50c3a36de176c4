"""Real photographs and real ImageNet weights, few and small: what only they can show."""

import json

import numpy as np
import pytest

from cifsel import config as config_lib
from cifsel import sweep, train
from cifsel.training.results import RunMetrics
from cifsel.workdir import summaries
from configs import effnet, mobilenet

pytestmark = pytest.mark.slow

CHANCE = 1 / 50


@pytest.fixture(scope="module")
def run(real_data, tmp_path_factory):
    def call(recipe, **fields):
        config = mobilenet.get_config(recipe)
        config.data_dir, config.weights_dir = str(real_data / "tfds"), str(real_data / "weights")
        config.image_size, config.mirror, config.val_per_class = 64, False, 5
        config.test_examples = 250
        config.update(fields)
        folder = tmp_path_factory.mktemp(recipe)
        metrics = train.train_and_evaluate(config, str(folder), summaries.Summaries())
        content = json.loads((folder / "metrics.json").read_text())
        assert metrics == RunMetrics.from_json(content)
        return content

    return call


def test_probe_recognises_animals_it_has_seen_ten_times(run):
    """And misses many: 100 % would mean that it was tested on what it was trained on."""
    metrics = run("probe", train_examples=500)
    assert metrics["examples"] == {"train": 500, "val": 250, "test": 250}
    assert metrics["weights"]["file"] == "mobilenet_1_0_224_tf_no_top.h5"
    test = metrics["test"]
    assert 10 * CHANCE < test["accuracy"] < 0.9
    assert test["accuracy"] < test["top5"]
    assert test["accuracy"] < test["coarse_accuracy"]
    assert test["loss"] < np.log(50)


def test_finetuning_goes_on_from_the_probe_and_learns(run):
    """Without augmentation and smoothing both minimise the same loss of the same images."""
    same = {"label_smoothing": 0.0, "augment": {"flip": False, "shift": 0}, "frozen_bn": True}
    metrics = run(
        "finetune", train_examples=300, epochs=1, batch_size=50, learning_rate=2e-5, **same
    )
    chosen, (epoch,) = metrics["probe"]["chosen"], metrics["training"]["history"]
    assert epoch["train_loss"] < chosen["train_loss"]
    assert epoch["val_accuracy"] > chosen["val_accuracy"] - 0.05
    assert epoch["val_accuracy"] == metrics["val"]["accuracy"]
    assert metrics["test"]["accuracy"] > 5 * CHANCE


def test_task1_ends_in_a_verdict_on_photos(real_data, tmp_path):
    """Both networks as probes on few images."""
    fields = {
        "data_dir": str(real_data / "tfds"),
        "weights_dir": str(real_data / "weights"),
        "image_size": 64,
        "val_per_class": 10,
        "train_examples": 500,
        "test_examples": 250,
        "mirror": False,
    }
    configs = [
        config_lib.changed(model.get_config("probe"), fields) for model in (mobilenet, effnet)
    ]
    result = sweep.run(configs, str(tmp_path)).to_json()
    assert result["chosen"] == "EfficientNetV2-B0"
    assert not result["within_noise"]
    low, high = (result["differences"]["val"][end] for end in ("low", "high"))
    assert 0 < low < high < 0.3
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["run"] == "effnet-seed0"
    page = (tmp_path / "report.html").read_text()
    # The page keeps a number and its unit on one line.
    assert result["verdict"].replace("<", "&lt;") in page.replace("\xa0", " ")
    # Of all test images one in fifteen has a twin among all training images.
    assert len(result["duplicates"]) < 250 / 15
