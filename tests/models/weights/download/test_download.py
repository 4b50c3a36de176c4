"""Downloads of weights: a bad one is one line, and leaves nothing behind."""

import hashlib
import logging
import threading
from pathlib import Path

import pytest
from published_weights import ARGS, DEAD, NAME, Server, left_in, refused, weight_file

from cifsel.models.weights import catalogue, download, h5_file, keras_h5


def test_no_network_and_nothing_local(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "own").mkdir()
    refused(
        NAME,
        f"weights_dir {tmp_path / 'own'}",
        f"the cache {cache}",
        "download failed",
        DEAD + NAME,
        "CIFSEL_WEIGHTS",
        weights_dir=str(tmp_path / "own"),
    )
    assert left_in(tmp_path) == []


def test_download_can_be_forbidden(server: Server) -> None:
    refused("downloads are off", NAME, allow_download=False)
    assert server.asked == []


def test_not_found_on_the_server(server: Server, cache: Path) -> None:
    refused("404", NAME)
    assert left_in(cache) == []


def test_truncated_body(server: Server, cache: Path, tmp_path: Path) -> None:
    body = weight_file(tmp_path / "published.h5").read_bytes()
    server.serve(NAME, body[:-100], len(body))
    refused("download failed", f"{len(body) - 100} of {len(body)} bytes")
    assert left_in(cache) == []
    # The next try starts afresh and succeeds.
    server.serve(NAME, body)
    assert download.find_weights("mobilenet", **ARGS).read_bytes() == body
    assert left_in(cache) == [NAME]


def test_an_error_page_is_not_kept(server: Server, cache: Path) -> None:
    server.serve(NAME, b"<html>please log in</html>")
    message = refused(server.url + NAME, "nothing was kept")
    assert str(cache) not in message
    assert left_in(cache) == []


def test_wrong_md5(server: Server, cache: Path, tmp_path: Path) -> None:
    name = "efficientnetv2-b1_notop.h5"
    server.serve(name, weight_file(tmp_path / "published.h5").read_bytes())
    refused("MD5", "0e80663031ca32d657f9caa404b6ec37", name, model="efficientnetv2-b1")
    assert left_in(cache) == []


def test_right_md5(
    server: Server, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = weight_file(tmp_path / "published.h5").read_bytes()
    server.serve("efficientnetv2-b1_notop.h5", body)
    md5 = hashlib.md5(body).hexdigest()
    monkeypatch.setitem(catalogue.EFFICIENTNET_MD5, "b1", ("", md5))
    assert download.find_weights("efficientnetv2-b1", **ARGS).parent == cache


@pytest.mark.parametrize("top", [True, False])
def test_wrong_tensors(server: Server, cache: Path, tmp_path: Path, top: bool) -> None:
    name = f"mobilenet_1_0_224_tf{'' if top else '_no_top'}.h5"
    server.serve(name, weight_file(tmp_path / "published.h5").read_bytes())
    sha256 = catalogue.MOBILENET_1_0_224_SHA256[top]
    refused("SHA-256 of its tensors", sha256, name, resolution=224, top=top)
    assert left_in(cache) == []


def test_file_without_a_known_hash_is_taken_and_its_hash_logged(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    published = weight_file(tmp_path / "published.h5")
    server.serve(NAME, published.read_bytes())
    with caplog.at_level(logging.INFO):
        download.find_weights("mobilenet", **ARGS)
    assert keras_h5.tensors_sha256(h5_file.read_tensors(published)) in caplog.text


def test_damaged_cache_is_fetched_again(server: Server, cache: Path, tmp_path: Path) -> None:
    published = weight_file(tmp_path / "published.h5")
    server.serve(NAME, published.read_bytes())
    cached = weight_file(cache / NAME)
    cached.write_bytes(cached.read_bytes()[:500])
    assert download.find_weights("mobilenet", **ARGS).read_bytes() == published.read_bytes()


def test_interrupted_by_the_user(
    server: Server, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.serve(NAME, weight_file(tmp_path / "published.h5").read_bytes())
    seen = []

    def interrupt(path: Path, file: catalogue.PublishedFile) -> None:
        seen.extend(left_in(cache))
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "_verify", interrupt)
    with pytest.raises(KeyboardInterrupt):
        download.find_weights("mobilenet", **ARGS)
    # While it was under way, nothing had the file's name; now nothing is there at all.
    assert len(seen) == 1
    assert NAME not in seen
    assert left_in(cache) == []


def test_endless_body(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 1000)
    server.serve(NAME, bytes(5000))
    refused("more than 1000 bytes")
    assert left_in(cache) == []


def test_silent_server(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT_S", 0.2)
    never = threading.Event()

    class Silent(dict):
        def get(self, *_: object) -> tuple[int, bytes, int]:
            never.wait(5)
            return 404, b"", 0

    server.answers = Silent()
    refused("download failed", "timed out")
    never.set()
    assert left_in(cache) == []


def test_cache_that_cannot_be_written(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CIFSEL_CACHE", str(tmp_path / "file"))
    server.serve(NAME, weight_file(tmp_path / "published.h5").read_bytes())
    refused("download failed", str(tmp_path / "file"))
