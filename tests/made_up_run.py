"""Runs of task 1 that were never trained: predictions with a chosen number of mistakes."""

import json

import numpy as np
import pytest
from etils import epath

from cifsel import config as config_lib
from cifsel import workdir
from cifsel.data import drawn_images
from cifsel.evaluation import split_score
from cifsel.evaluation.cost import Cost
from cifsel.training.progress import Epoch, Progress
from cifsel.training.results import RunMetrics
from cifsel.workdir.checkpoints import Checkpoints
from cifsel.workdir.model_meta import ClassifierMeta
from cifsel.workdir.provenance import Devices, Provenance
from configs import effnet, mobilenet

CONFIGS = {"mobilenet": mobilenet, "efficientnetv2-b0": effnet}
FLOPS = {"mobilenet": 3e8, "efficientnetv2-b0": 5e8}


def metrics_of(settings, dataset, folder, val, test):
    history = [epoch(1), epoch(2)]
    return RunMetrics(
        name=settings["name"],
        recipe=settings["recipe"],
        model=settings["model"],
        dataset="drawn",
        examples={"train": 100, "val": 100, "test": 100},
        fingerprint=dataset.fingerprint,
        config=settings,
        val=val,
        test=test,
        training=Progress(history, history[-1], seconds=60.0),
        probe=None,
        cost=Cost(
            parameters=1000,
            flops_per_image=FLOPS[settings["model"]],
            passes_per_image=2,
            images_per_second=100.0,
            seconds={"probe": 1.0, "training": 60.0, "test": 2.0},
        ),
        weights=None,
        provenance=Provenance(
            versions={"python": "3.11.2", "jax": "0.10.2", "clu": None},
            devices=Devices("cpu", "cpu", 1, "a processor", 2),
            command=f"python -m cifsel.main --config=x --workdir={folder}",
            git_commit="0123456789abcdef" * 2 + "01234567",
            finished="2026-11-29T12:00:00+00:00",
        ),
    )


def epoch(number):
    return Epoch(
        epoch=number,
        step=10 * number,
        train_loss=1 / number,
        train_accuracy=0.5,
        val_loss=1 / number,
        val_accuracy=0.4 + 0.1 * number,
        learning_rate=1e-3,
        grad_norm=1.0,
        images_per_second=100.0,
        waiting=0.0,
    )


@pytest.fixture(scope="session", name="dataset")
def _dataset():
    """50 classes with two images each to train, validate and test."""
    return drawn_images.draw_classes(train_per_class=2, val_per_class=2, test_per_class=2, seed=0)


@pytest.fixture(scope="session", name="make_run")
def _make_run(dataset, build_tiny, variables_of):
    """(folder, model, wrong images of 'val' and 'test', fields of the config) -> the folder."""

    def make(folder, model, wrong, **fields):
        folder.mkdir(parents=True)
        # The recipes of fine-tuning differ in more than the model.
        config = CONFIGS[model].get_config("probe")
        tuned = {"method": "finetune", "recipe": "finetune"}
        config.update(tuned | {"dataset": "drawn", "image_size": 32} | fields)
        settings = config_lib.to_json(config)
        rng = np.random.default_rng([config.seed, len(model)])
        names = dataset.class_names, dataset.coarse_names, dataset.coarse_of
        scores, arrays = {}, {"class_names": np.asarray(dataset.class_names)}
        for split, positions in wrong.items():
            images = getattr(dataset, split)
            logits = rng.normal(0, 0.5, (len(images), 50)).astype(np.float32)
            predicted = images.labels.copy()
            predicted[positions] = (predicted[positions] + 1) % 50
            logits[np.arange(len(images)), predicted] += 6
            scores[split] = split_score.score(logits, images.labels, *names)
            arrays |= {f"{split}_logits": logits, f"{split}_labels": images.labels}
            arrays[f"{split}_ids"] = images.ids
        workdir.write_npz(epath.Path(folder) / workdir.PREDICTIONS, arrays)
        tiny = build_tiny(model, num_classes=50)
        meta = ClassifierMeta(
            config=settings,
            class_names=dataset.class_names,
            coarse_names=dataset.coarse_names,
            coarse_of=tuple(dataset.coarse_of.tolist()),
            image_side=32,
            fingerprint=dataset.fingerprint,
            weights=None,
        )
        with Checkpoints(epath.Path(folder)) as checkpoints:
            checkpoints.save(1, model=variables_of(tiny, 32), meta=meta.to_json())
        (folder / workdir.CONFIG).write_text(json.dumps(settings))
        metrics = metrics_of(settings, dataset, folder, **scores)
        (folder / workdir.METRICS).write_text(json.dumps(metrics.to_json()))
        return str(folder)

    return make
