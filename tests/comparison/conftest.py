"""Finished runs of two models, without the training."""

import shutil
from pathlib import Path

import numpy as np
import pytest


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
