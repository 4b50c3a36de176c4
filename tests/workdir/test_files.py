"""The folder of a run: whose it is, and files that are whole or not there."""

import errno
import json
import os

import jax
import numpy as np
import pytest
from etils import epath

from cifsel import workdir
from cifsel.errors import UserError

CONFIG = {"seed": 0, "data_dir": None, "augment": {"flip": True, "shift": 4}}


@pytest.fixture
def run(tmp_path):
    return epath.Path(tmp_path) / "runs" / "one"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def refusal(run, config=CONFIG):
    with pytest.raises(UserError) as error:
        workdir.check(run, config)
    assert "\n" not in str(error.value)
    assert str(run) in str(error.value)
    return str(error.value)


# --- whose it is ---------------------------------------------------------------------------------


def test_new_folder_is_made_and_left_empty(run):
    workdir.check(run, CONFIG)
    assert names(run) == []


def test_same_config_may_go_on_wherever_its_data_are(run):
    workdir.check(run, CONFIG)
    workdir.write_json(run / workdir.CONFIG, CONFIG)
    workdir.check(run, CONFIG)
    places = {"data_dir": "/else", "weights_dir": "/there", "checkpoint_minutes": 1.0}
    workdir.check(run, CONFIG | places)


def test_other_config_is_refused_with_the_fields_that_differ(run):
    workdir.check(run, CONFIG)
    workdir.write_json(run / workdir.CONFIG, CONFIG)
    other = {"seed": 1, "data_dir": "/else", "augment": {"flip": True, "shift": 2}, "new": "x"}
    message = refusal(run, other)
    for difference in ("seed: 0 -> 1", "augment.shift: 4 -> 2", "new: 'absent' -> 'x'"):
        assert difference in message
    assert "flip" not in message
    assert "data_dir" not in message
    assert names(run) == [workdir.CONFIG]


@pytest.mark.parametrize("content", ['{"seed": ', "[1]", ""])
def test_damaged_config(run, content):
    workdir.check(run, CONFIG)
    (run / workdir.CONFIG).write_text(content)
    assert workdir.CONFIG in refusal(run)


@pytest.mark.parametrize("below", ["", "further"])
def test_file_in_the_place_of_the_folder(run, below):
    run.parent.mkdir(parents=True)
    run.write_text("mine")
    assert "cannot be written" in refusal(run / below)
    assert run.read_text() == "mine"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(run):
    run.mkdir(parents=True)
    run.chmod(0o500)
    assert "cannot be written" in refusal(run)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc")  # noqa: PTH112 - shorter in a mark
def test_folder_that_nobody_may_write():
    assert "cannot be written" in refusal(epath.Path("/proc/self/run"))


# --- files ---------------------------------------------------------------------------------------


def test_json_comes_back(run):
    run.mkdir(parents=True)
    content = CONFIG | {"name": "Löwe", "list": [1, 2.5, None]}
    workdir.write_json(run / "a.json", content)
    assert workdir.read_json(run / "a.json") == json.loads((run / "a.json").read_text()) == content


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_has_no_nan(run, value):
    run.mkdir(parents=True)
    workdir.write_json(run / "a.json", {"loss": 1.0})
    with pytest.raises(ValueError, match="JSON"):
        workdir.write_json(run / "a.json", {"loss": [value]})
    assert workdir.read_json(run / "a.json") == {"loss": 1.0}
    assert names(run) == ["a.json"]


@pytest.mark.parametrize("method", ["write_bytes", "replace"])
def test_failure_leaves_the_old_file_and_nothing_else(run, monkeypatch, method):
    run.mkdir(parents=True)
    path = run / "a.bin"
    workdir.write_bytes(path, b"old")
    real = getattr(type(path), method)

    def full(self, argument):
        if method == "write_bytes":
            real(self, argument[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), method, full)
    with pytest.raises(UserError, match=r"a\.bin could not be written \(No space left"):
        workdir.write_bytes(path, b"new content")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names(run) == ["a.bin"]


def test_arrays_come_back(run):
    run.mkdir(parents=True)
    arrays = {"logits": np.arange(6.0).reshape(2, 3), "names": np.array(["a", "bc"])}
    workdir.write_npz(run / "a.npz", arrays)
    with np.load(run / "a.npz", allow_pickle=False) as saved:
        assert set(saved.files) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(saved[name], array)


# --- the cache -----------------------------------------------------------------------------------


class Compute:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return np.arange(12, dtype=np.float32).reshape(3, 4)


def cached(run, name, compute):
    return workdir.cached_array(
        run, name, compute, lambda: jax.ShapeDtypeStruct((3, 4), np.float32)
    )


def test_array_is_computed_once(run):
    compute = Compute()
    for _ in range(2):
        np.testing.assert_array_equal(cached(run, "train", compute), Compute()())
    assert compute.calls == 1
    cached(run, "val", compute)
    assert compute.calls == 2
    workdir.remove_cached(run)
    assert names(run) == []
    workdir.remove_cached(run)


def test_cache_on_another_disk_stays_there_and_the_run_is_finished(run, tmp_path, capsys):
    run.mkdir(parents=True)
    other = tmp_path / "other disk"
    other.mkdir()
    (other / "mine.npy").write_text("kept")
    (tmp_path / "runs" / "one" / workdir.CACHE).symlink_to(other)
    cached(run, "train", Compute())
    workdir.remove_cached(run)
    assert names(run) == []
    assert (other / "mine.npy").read_text() == "kept"
    assert f"was a link to {other}" in capsys.readouterr().out


@pytest.mark.parametrize("target", ["nowhere", workdir.CACHE])
def test_cache_on_a_disk_that_is_not_there(run, tmp_path, target):
    run.mkdir(parents=True)
    (tmp_path / "runs" / "one" / workdir.CACHE).symlink_to(target)
    with pytest.raises(UserError, match=f"one/{workdir.CACHE} cannot be made"):
        cached(run, "train", Compute())
    workdir.remove_cached(run)
    assert names(run) == []


def test_cache_that_cannot_be_deleted_is_only_said(run, monkeypatch, capsys):
    cached(run, "train", Compute())

    def rmtree(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(type(run), "rmtree", rmtree)
    workdir.remove_cached(run)
    assert "could not be deleted (Permission denied)" in capsys.readouterr().err
