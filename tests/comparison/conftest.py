"""Finished runs without the training: predictions with a chosen number of mistakes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from made_up_run import metrics_of

from cifsel import config as config_lib
from cifsel import workdir
from cifsel.data import drawn_images
from cifsel.evaluation import split_score
from cifsel.workdir.checkpoints import Checkpoints
from cifsel.workdir.model_meta import ClassifierMeta
from configs import effnet, mobilenet

CONFIGS = {"mobilenet": mobilenet, "efficientnetv2-b0": effnet}


@pytest.fixture(scope="session")
def dataset():
    """50 classes with two images each to train, validate and test."""
    return drawn_images.draw_classes(train_per_class=2, val_per_class=2, test_per_class=2, seed=0)


@pytest.fixture(scope="session")
def make_run(dataset, build_tiny, variables_of):
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


@pytest.fixture(scope="session")
def original_pair(make_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    few, many = np.arange(0, 100, 20), np.arange(0, 100, 2)
    for model, mistakes in (("mobilenet", many[:-1]), ("efficientnetv2-b0", few)):
        for seed in (0, 1):
            wrong = {"val": mistakes + seed, "test": mistakes + seed}
            make_run(folder / f"{model}-seed{seed}", model, wrong, seed=seed)
    return folder


@pytest.fixture
def pair(original_pair, tmp_path):
    """Folders of two seeds of each model, MobileNet's first. It makes many more mistakes."""
    shutil.copytree(original_pair, tmp_path, dirs_exist_ok=True)
    models = ("mobilenet", "efficientnetv2-b0")
    return [str(tmp_path / f"{model}-seed{seed}") for model in models for seed in (0, 1)]


@pytest.fixture(scope="module")
def two(make_run, tmp_path_factory):
    """The folders of two runs, which tests of a module write other files into."""
    folder = tmp_path_factory.mktemp("runs")
    mistakes = {"val": np.arange(9), "test": np.arange(7)}
    made = [
        make_run(folder / "a", "mobilenet", mistakes),
        make_run(folder / "b", "efficientnetv2-b0", {"val": [], "test": []}),
    ]
    return [Path(folder) for folder in made]
