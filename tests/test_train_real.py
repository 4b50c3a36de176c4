"""Real photographs and real ImageNet weights, few and small: what only they can show."""

import json

import numpy as np
import pytest

from cifsel import summaries, train
from configs import mobilenet

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
        assert metrics == json.loads((folder / "metrics.json").read_text())
        return metrics

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
    same = {"label_smoothing": 0.0, "augment": {"flip": False, "shift": 0}}
    metrics = run(
        "finetune", train_examples=300, epochs=1, batch_size=50, learning_rate=2e-5, **same
    )
    chosen, (epoch,) = metrics["probe"]["chosen"], metrics["training"]["history"]
    assert epoch["train_loss"] < chosen["train_loss"]
    assert epoch["val_accuracy"] > chosen["val_accuracy"] - 0.05
    assert epoch["val_accuracy"] == metrics["val"]["accuracy"]
    assert metrics["test"]["accuracy"] > 5 * CHANCE
