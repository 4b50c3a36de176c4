"""Only regular files are opened, and no more of them is read than was asked for."""

import os
import socket
import stat

import pytest
from etils import epath

from cifsel.runtime import regular


@pytest.fixture(params=["pipe", "device", "folder", "socket"])
def irregular(request, tmp_path):
    path = tmp_path / request.param
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    elif request.param == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    return path


def test_what_is_no_file_is_refused_at_once(irregular):
    for path in (irregular, epath.Path(irregular)):
        with pytest.raises(ValueError, match="not a regular file"):
            regular.content(path, 10)


def test_pipe_that_comes_between_asking_and_opening(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"")
    status = (tmp_path / "file").stat()
    monkeypatch.setattr(os, "stat", lambda path: status)
    with pytest.raises(ValueError, match="not a regular file"):
        regular.opened(tmp_path / "pipe")
    assert stat.S_ISREG(status.st_mode)


def test_files_and_links_to_them_are_read(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("file", "link"):
        assert regular.content(tmp_path / name, 7) == b"content"
        with pytest.raises(ValueError, match="more than 0 MB"):
            regular.content(tmp_path / name, 6)


def test_what_is_not_there(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("absent", "loop"):
        with pytest.raises(OSError, match=name):
            regular.content(tmp_path / name, 6)
