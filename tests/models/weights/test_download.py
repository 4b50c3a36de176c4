"""Finding published weights: whose copy is used, and that a bad download leaves nothing behind."""

import hashlib
import http.server
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from etils import epath

from cifsel.errors import UserError
from cifsel.models.weights import catalogue, download, h5_file, keras_h5
from cifsel.runtime import remote

NAME = "mobilenet_1_0_128_tf_no_top.h5"
ARGS = {"alpha": 1.0, "resolution": 128, "top": False}
DEAD = "http://127.0.0.1:9/"


def weight_file(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv1"]
        kernel = np.random.default_rng(seed).normal(size=(3, 3, 3, 64)).astype(np.float32)
        file["conv1/conv1/kernel:0"] = kernel
    return path


class Server:
    """An HTTP server on this machine: path -> (status, body, length that it claims)."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes, int]] = {}
        self.asked: list[str] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                status, body, length = server.answers.get(self.path, (404, b"no", 2))
                self.send_response(status)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"

    def serve(self, name: str, body: bytes, length: int | None = None) -> None:
        self.answers[f"/{name}"] = (200, body, len(body) if length is None else length)


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


def refused(*words: str, model: str = "mobilenet", **kwargs: object) -> str:
    with pytest.raises(UserError) as error:
        download.find_weights(model, **ARGS | kwargs)  # type: ignore[arg-type] - mixed values
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


def left_in(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob("*") if p.is_file()]


# ---- what is published ----------------------------------------------------------------------


def test_mobilenet_has_one_file_per_width_and_size() -> None:
    names = {
        catalogue.published("mobilenet", alpha=alpha, resolution=size, top=top).name
        for alpha in (0.25, 0.5, 0.75, 1.0)
        for size in (128, 160, 192, 224)
        for top in (True, False)
    }
    assert len(names) == 32
    assert {"mobilenet_2_5_160_tf.h5", "mobilenet_7_5_224_tf_no_top.h5"} <= names


def test_efficientnet_takes_no_notice_of_alpha_and_resolution() -> None:
    file = catalogue.published("efficientnetv2-s", alpha=3.0, resolution=7, top=False)
    assert file.name == "efficientnetv2-s_notop.h5"
    assert file.md5 == "af0682fb74e8c54910f2d4393339c070"


@pytest.mark.parametrize(
    ("model", "kwargs", "words"),
    [
        ("mobilenet", {"alpha": 0.3}, ("alpha=0.3", "0.25, 0.5, 0.75, 1.0")),
        ("mobilenet", {"resolution": 96}, ("weights_resolution=96", "128, 160, 192, 224")),
        ("efficientnetv2-mini", {}, ("model=efficientnetv2-mini", "efficientnetv2-b0")),
        ("b0", {}, ("model=b0",)),
    ],
)
def test_nothing_published(model: str, kwargs: dict, words: tuple[str, ...]) -> None:
    refused(*words, "weights=none", model=model, **kwargs)


# ---- whose copy -----------------------------------------------------------------------------


def test_own_folder_comes_before_environment_cache_and_download(
    tmp_path: Path, cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = weight_file(tmp_path / "published.h5", seed=3)
    server.serve(NAME, published.read_bytes())
    own, named = weight_file(tmp_path / "own" / NAME, 1), weight_file(tmp_path / "env" / NAME, 2)

    assert download.find_weights("mobilenet", **ARGS) == cache / NAME
    assert (cache / NAME).read_bytes() == published.read_bytes()
    assert download.find_weights("mobilenet", **ARGS) == cache / NAME
    assert server.asked == [f"/{NAME}"]

    monkeypatch.setenv("CIFSEL_WEIGHTS", str(named.parent))
    assert download.find_weights("mobilenet", **ARGS) == named
    assert download.find_weights("mobilenet", **ARGS, weights_dir=str(own.parent)) == own


def test_own_folder_without_the_file_falls_back_to_the_cache(tmp_path: Path, cache: Path) -> None:
    weight_file(cache / NAME)
    (tmp_path / "own").mkdir()
    assert (
        download.find_weights("mobilenet", **ARGS, weights_dir=str(tmp_path / "own"))
        == cache / NAME
    )


@pytest.mark.parametrize("field", ["weights_dir", "CIFSEL_WEIGHTS"])
def test_a_folder_that_does_not_exist_is_a_mistake(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if field == "weights_dir":
        refused("weights_dir=/no/such", NAME, weights_dir="/no/such")
    else:
        monkeypatch.setenv("CIFSEL_WEIGHTS", "/no/such")
        refused("CIFSEL_WEIGHTS=/no/such", NAME)


def test_own_file_is_used_as_it_is_with_its_hash_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    own = weight_file(tmp_path / "own" / "efficientnetv2-b0_notop.h5")
    with caplog.at_level(logging.INFO):
        assert (
            download.find_weights("efficientnetv2-b0", **ARGS, weights_dir=str(own.parent)) == own
        )
    assert keras_h5.tensors_sha256(h5_file.read_tensors(own)) in caplog.text
    md5 = hashlib.md5(own.read_bytes()).hexdigest()
    assert f"MD5 {md5}, published 893217f2bb855e2983157299931e43ff" in capsys.readouterr().err


def test_own_mobilenet_that_is_not_the_published_one_is_remarked_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = weight_file(tmp_path / "own" / "mobilenet_1_0_224_tf.h5")
    at = {"alpha": 1.0, "resolution": 224, "top": True, "weights_dir": str(own.parent)}
    assert download.find_weights("mobilenet", **at) == own
    assert "not the published tensors" in capsys.readouterr().err
    sha256 = keras_h5.tensors_sha256(h5_file.read_tensors(own))
    monkeypatch.setitem(catalogue.MOBILENET_1_0_224_SHA256, True, sha256)
    assert download.find_weights("mobilenet", **at) == own
    assert "not the published" not in capsys.readouterr().err


def test_own_file_that_is_damaged(tmp_path: Path) -> None:
    own = weight_file(tmp_path / "own" / NAME)
    own.write_bytes(own.read_bytes()[:1000])
    refused(str(own), weights_dir=str(own.parent))


def test_file_named_by_the_user(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = weight_file(tmp_path / "mine.h5")
    with caplog.at_level(logging.INFO):
        assert download.use_file(str(own)) == own
    assert keras_h5.tensors_sha256(h5_file.read_tensors(own)) in caplog.text
    with pytest.raises(UserError, match=r"other\.h5: no such weight file"):
        download.use_file(str(tmp_path / "other.h5"))


def test_cloud_folder_is_copied_once_and_again_when_it_changes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = weight_file(tmp_path / "cloud" / NAME, seed=1)
    opened = []

    class Bucket(type(epath.Path("."))):  # type: ignore[misc] - epath hides its class
        def open(self, *args: object, **kwargs: object) -> object:
            opened.append(self.name)
            return super().open(*args, **kwargs)

    def path(address: str) -> epath.Path:
        assert address == "gs://bucket/weights"
        return Bucket(cloud.parent)

    monkeypatch.setattr(epath, "Path", path)
    monkeypatch.setattr(remote, "reach", str)
    args = ARGS | {"weights_dir": "gs://bucket/weights"}
    local = download.find_weights("mobilenet", **args)
    assert cache in local.parents
    assert local.read_bytes() == cloud.read_bytes()
    assert download.find_weights("mobilenet", **args) == local
    assert opened == [NAME]
    weight_file(cloud, seed=2)
    with h5py.File(cloud, "r+") as file:
        file["conv2"] = np.zeros(99, np.float32)
    assert download.find_weights("mobilenet", **args).read_bytes() == cloud.read_bytes()
    assert download.use_file(f"gs://bucket/weights/{NAME}") == local
    assert len(opened) == 2
    cloud.unlink()
    refused("gs://bucket/weights", NAME, weights_dir="gs://bucket/weights")


def test_cloud_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    class NoPermission(Exception):  # noqa: N818 - named as clouds name theirs
        pass

    def path(address: str) -> None:
        raise NoPermission("403\nno access")

    monkeypatch.setattr(epath, "Path", path)
    monkeypatch.setattr(remote, "reach", str)
    refused("gs://bucket/x/" + NAME, "403 no access", weights_dir="gs://bucket/x")
    assert left_in(cache) == []


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CIFSEL_CACHE": "/c"}, "/c/weights"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/cifsel/weights"),
        ({"CIFSEL_CACHE": "/c", "XDG_CACHE_HOME": "/x"}, "/c/weights"),
        ({"HOME": "/h"}, "/h/.cache/cifsel/weights"),
    ],
)
def test_cache_folder(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CIFSEL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert download.cache_dir() == Path(expected)


# ---- downloads ------------------------------------------------------------------------------


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
