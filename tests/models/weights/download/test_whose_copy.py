"""Finding published weights: whose copy is used, and where the cache is."""

import hashlib
import logging
from pathlib import Path

import h5py
import numpy as np
import pytest
from etils import epath
from published_weights import ARGS, NAME, Server, left_in, refused, weight_file

from cifsel.errors import UserError
from cifsel.models.weights import catalogue, download, h5_file, keras_h5
from cifsel.runtime import remote


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
