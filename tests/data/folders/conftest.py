"""A cache of its own for each test of a user's own data."""

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("CIFSEL_CACHE", str(folder))
    return folder
