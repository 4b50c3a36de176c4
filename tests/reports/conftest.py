"""The page of a run that was never trained."""

import dataclasses

import numpy as np
import pytest
from made_up_run import metrics_of

from cifsel.data import drawn_images
from cifsel.evaluation import prediction_sets, split_score
from cifsel.training.progress import Start
from cifsel.training.samples import Samples


@pytest.fixture(scope="session")
def dataset():
    """50 classes with four images each to test."""
    return drawn_images.draw_classes(train_per_class=1, val_per_class=1, test_per_class=4, seed=0)


@pytest.fixture(scope="session")
def logits(dataset):
    """Logits of the test images, most of which are right."""
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (len(dataset.test), 50)).astype(np.float32)
    values[np.arange(len(values)), dataset.test.labels] += 3
    return values


@pytest.fixture(scope="session")
def samples(dataset):
    """Four training images. The last one is mixed of two classes."""
    targets = np.eye(50, dtype=np.float32)[:4]
    targets[3, 7], targets[3, 3] = 0.7, 0.3
    return Samples(dataset.train.images[:4], targets)


@pytest.fixture(scope="session")
def metrics(dataset, logits, tmp_path_factory):
    """Results of a fine-tuning without an epoch as good as the probe that it began with."""
    names = dataset.class_names, dataset.coarse_names, dataset.coarse_of
    test = split_score.score(logits, dataset.test.labels, *names)
    settings = {
        "name": "effnet",
        "recipe": "finetune",
        "model": "efficientnetv2-b0",
        "seed": 0,
        "augment": {"flip": True},
    }
    made = metrics_of(settings, dataset, tmp_path_factory.mktemp("run"), val=test, test=test)
    trials = [
        {"l2": l2, "val_loss": 2 + l2, "val_accuracy": 0.701 - l2} for l2 in (0.001, 0.01, 0.1)
    ]
    probe = {"l2": 0.001, "chosen": trials[0], "trials": trials}
    start = Start(trials[0]["val_loss"], trials[0]["val_accuracy"])
    training = dataclasses.replace(made.training, best=None, start=start)
    sets = tuple(
        prediction_sets.score(
            logits[:100],
            dataset.test.labels[:100],
            logits,
            dataset.test.labels,
            coarse_names=dataset.coarse_names,
            coarse_of=dataset.coarse_of,
            wanted=wanted,
        )
        for wanted in prediction_sets.COVERAGES
    )
    return dataclasses.replace(made, probe=probe, training=training, sets=sets)
