"""Settings of all tests, and the list of modules with their shared fixtures."""

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from paths import DATA

# Fixtures that tests of several packages use. Those of one package are in its conftest.py.
pytest_plugins = ["bounded_reader", "browser", "gs", "tiny_model"]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images and weights; skips without it."""
    for needed in ("tfds/cifar100/3.0.2", "weights"):
        if not (DATA / needed).is_dir():
            pytest.skip(f"no real data: {DATA / needed} is not there")
    return DATA


@pytest.fixture(scope="module")
def quick_compiling() -> Iterator[None]:
    """For tests that compile more than they compute: halves their time."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
