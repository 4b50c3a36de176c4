"""Fixtures for tests of gs://: a server on this machine, and the environment that leads to it."""

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def gs_server() -> Iterator[Any]:
    """One for all, as some clients ask only once where it is."""
    pytest.importorskip("gcsfs", reason="no gcsfs, with which gs:// is read")
    pytest.importorskip("gcp_storage_emulator", reason="no gcp-storage-emulator to stand for gs://")
    import gcs_server

    with gcs_server.Server() as found:
        yield found


@pytest.fixture(scope="module")
def gs(gs_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """gs:// for this process and those that it starts, without credentials; the server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        for name in ("STORAGE_EMULATOR_HOST", "TENSORSTORE_GCS_HTTP_URL"):
            patch.setenv(name, gs_server.url)
        patch.setenv("CLOUDSDK_CONFIG", str(tmp_path_factory.mktemp("gcloud")))
        patch.setenv("CIFSEL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield gs_server
