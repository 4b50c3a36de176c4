"""Small arrays in the place of CIFAR-100, and where the real files are."""

import os
import subprocess
import sys

import numpy as np
import pytest
from paths import DATA, REPO

from cifsel.data import cifar

TFDS = DATA / "tfds"
PREPARED = TFDS / "cifar100" / "3.0.2"

real_data = pytest.mark.skipif(not PREPARED.is_dir(), reason=f"no prepared CIFAR-100 at {PREPARED}")


def python(code, **environment):
    """Runs code in a fresh interpreter that must be quiet; returns what it printed."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPO,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout.strip()


def small_arrays(seed=0):
    """The content of a cache, with 12 training images and 3 test images of each of 2 classes."""
    rng = np.random.default_rng(seed)
    arrays = {
        "class_names": np.array(["bear", "tiger"]),
        "coarse_names": np.array(["large_carnivores"]),
        "coarse_of": np.zeros(2, np.int32),
    }
    for name, count in (("train", 12), ("test", 3)):
        arrays[f"{name}_images"] = rng.integers(0, 256, (2 * count, 32, 32, 3), np.uint8)
        arrays[f"{name}_labels"] = np.tile(np.arange(2, dtype=np.int32), count)
        arrays[f"{name}_ids"] = np.arange(2 * count, dtype=np.int32)
    return arrays


def load(data_dir=None, **options):
    return cifar.load_cifar(None if data_dir is None else str(data_dir), val_per_class=2, **options)


def files_in(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def one_line(caught):
    message = str(caught.value)
    assert "\n" not in message
    return message


def link(target, prepared):
    """Prepared data without copying them."""
    target.mkdir(parents=True)
    for file in prepared.iterdir():
        (target / file.name).symlink_to(file)
