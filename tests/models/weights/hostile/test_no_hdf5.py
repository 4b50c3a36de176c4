"""Files that are no HDF5, and names that cannot be, are refused as weights."""

import os
import pickle
from pathlib import Path

import pytest
from h5_refusal import refused

from cifsel.errors import UserError
from cifsel.models.weights import download, h5_file

pytestmark = pytest.mark.slow


def test_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere.h5", "no such weight file")


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>404 not found</html>" * 99, b"PK\x03\x04" * 99, b"kernel: 1.0\n"],
    ids=["empty", "html", "zip", "text"],
)
def test_not_hdf5(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path, "not a readable HDF5 file")


def test_pickle_is_never_loaded(path: Path) -> None:
    marker = path.with_name("marker")

    class Malicious:
        def __reduce__(self) -> tuple:
            return Path.touch, (marker,)

    path.write_bytes(pickle.dumps(Malicious()))
    refused(path, "not a readable HDF5 file")
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "loop"])
def test_what_is_no_file_is_not_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "w.h5"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path)
    refused(path, "no such weight file" if kind == "loop" else "not a readable HDF5 file")
    if kind != "folder":
        with pytest.raises(UserError, match=r"w\.h5: (no such weight|not a readable HDF5) file"):
            download.use_file(str(path))


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000, "nul\0.h5", "~nobody-of-this-name/w.h5"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(UserError, match="no such weight file") as error:
        download.use_file(name)
    assert str(error.value).isprintable()


def test_names_cannot_speak_to_the_terminal(path: Path) -> None:
    odd = path.rename(path.with_name("odd\n\x1b[2J\u202e.h5"))
    odd.write_bytes(b"")
    with pytest.raises(UserError, match=r"odd\\n\\x1b\[2J\\u202e\.h5: not a readable") as error:
        h5_file.read_tensors(odd)
    assert str(error.value).isprintable()
