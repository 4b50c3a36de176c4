"""A server of weights, and an empty cache for each test."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from published_weights import DEAD, Server

from cifsel.models.weights import catalogue


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setattr(catalogue, "MOBILENET_URL", server.url)
    monkeypatch.setattr(catalogue, "EFFICIENTNET_URL", server.url)
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no folder of the user's own, and no way to the real servers."""
    monkeypatch.setenv("CIFSEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CIFSEL_WEIGHTS", raising=False)
    monkeypatch.setattr(catalogue, "MOBILENET_URL", DEAD)
    monkeypatch.setattr(catalogue, "EFFICIENTNET_URL", DEAD)
    return tmp_path / "cache" / "weights"
