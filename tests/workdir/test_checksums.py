"""Damage to a checkpoint is found, whatever file it is in, and the one before is used."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from etils import epath
from test_checkpoints import (
    META,
    assert_one_line,
    assert_same,
    make_model,
    make_state,
    names,
    zeros,
)

from cifsel.errors import UserError
from cifsel.workdir import checkpoints, checksums
from cifsel.workdir.checkpoints import Checkpoints


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 4
    path.write_bytes(content)


DAMAGES = {
    "flipped": flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "emptied": lambda path: path.write_bytes(b""),
    "deleted": Path.unlink,
}


def make_parts(step):
    return {"model": make_model(step), "training": make_state(step), "meta": META | {"step": step}}


def assert_parts(reopened, step):
    assert reopened.latest == step
    assert reopened.meta() == META | {"step": step}
    assert_same(reopened.model(zeros(make_model())), make_model(step))
    assert_same(reopened.training(zeros(make_state())), make_state(step))


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """A folder with checkpoints of steps 1 and 2."""
    folder = tmp_path_factory.mktemp("twice")
    with Checkpoints(epath.Path(folder)) as saved:
        for step in (1, 2):
            saved.save(step, **make_parts(step))
    return folder


@pytest.fixture
def copied(twice, tmp_path):
    return shutil.copytree(twice, tmp_path / "copy")


def files(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.slow
def test_any_damaged_file_of_the_newest_makes_the_one_before_be_used(
    twice, tmp_path, first, capsys
):
    """But for those that say nothing of the content, without which it is used."""
    damages = list(DAMAGES.values())
    for number, file in enumerate(files(twice / checkpoints.FOLDER / "2")):
        folder = tmp_path / str(number)
        shutil.copytree(twice, folder)
        # Two kinds of damage to each file, and each kind to every other file.
        damage = damages[(number + 2 * first) % len(damages)]
        damage(folder / checkpoints.FOLDER / "2" / file)
        with Checkpoints(epath.Path(folder)) as reopened:
            if reopened.latest == 2:
                assert_parts(reopened, 2)
                assert "/" not in str(file)
                continue
            assert reopened.latest == reopened.meta()["step"] == 1
        assert names(folder / checkpoints.FOLDER) == ["1", "damaged-2"]
        said = capsys.readouterr().out
        assert said.count("\n") == 1
        for word in (f"{folder}/checkpoints/2 is damaged", "damaged-2", "goes on from step 1"):
            assert word in said
        assert file.name in said or file.name == checksums.NAME
        kept = set(files(twice / checkpoints.FOLDER / "2")) - {file}
        assert kept <= set(files(folder / checkpoints.FOLDER / "damaged-2"))


def test_the_run_comes_to_the_damaged_step_again(copied):
    flip(copied / checkpoints.FOLDER / "2" / "training" / "manifest.ocdbt")
    with Checkpoints(epath.Path(copied)) as reopened:
        assert_parts(reopened, 1)
        reopened.save(2, **make_parts(2))
        assert_parts(reopened, 2)
    assert names(copied / checkpoints.FOLDER) == ["1", "2", "damaged-2"]


def test_gutted_checkpoint(copied, capsys):
    for path in (copied / checkpoints.FOLDER / "2").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with Checkpoints(epath.Path(copied)) as reopened:
        assert_parts(reopened, 1)
    assert "checksums.json is missing" in capsys.readouterr().out


def test_every_damaged_one_gets_a_name_of_its_own(copied):
    (copied / checkpoints.FOLDER / "damaged-2").mkdir()
    flip(copied / checkpoints.FOLDER / "2" / "meta" / "metadata")
    with Checkpoints(epath.Path(copied)) as reopened:
        reopened.save(5, **make_parts(5))
        reopened.save(6, **make_parts(6))
    assert names(copied / checkpoints.FOLDER) == ["5", "6", "damaged-2", "damaged-2-2"]


def test_nothing_is_renamed_when_all_are_damaged(copied):
    for step in ("1", "2"):
        flip(copied / checkpoints.FOLDER / step / "meta" / "metadata")
    with pytest.raises(UserError) as error:
        Checkpoints(epath.Path(copied))
    assert_one_line(error, str(copied), "all checkpoints", "'meta/metadata' has changed", "delete")
    assert names(copied / checkpoints.FOLDER) == ["1", "2"]


def test_another_model_is_not_damage(copied):
    with (
        Checkpoints(epath.Path(copied)) as reopened,
        pytest.raises(UserError, match="another model"),
    ):
        reopened.model(make_model(width=5))
    assert names(copied / checkpoints.FOLDER) == ["1", "2"]


@pytest.mark.parametrize("part", ["model", "meta"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_reading_refuses_a_damaged_newest(copied, part, damage):
    """Its numbers are not those of the one before."""
    folder = copied / checkpoints.FOLDER / "2" / part
    DAMAGES[damage](max(folder.rglob("*"), key=lambda path: path.stat().st_size * path.is_file()))
    before = files(copied)
    with Checkpoints(epath.Path(copied), read_only=True) as reopened:
        with pytest.raises(UserError) as error:
            reopened.meta() if part == "meta" else reopened.model(make_model())
        # Undamaged parts can be used.
        assert_same(reopened.training(zeros(make_state())), make_state(2))
    assert_one_line(error, f"{copied}/checkpoints/2", repr(part))
    assert files(copied) == before


def test_reading_changes_nothing_while_a_run_saves(copied):
    """Not even what it has only begun to write."""
    half = copied / checkpoints.FOLDER / "3.orbax-checkpoint-tmp-0"
    shutil.copytree(copied / checkpoints.FOLDER / "2", half)

    def state():
        times = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
        return times | {copied: copied.stat().st_mtime_ns}

    before = state()
    with Checkpoints(epath.Path(copied), read_only=True) as reopened:
        assert_parts(reopened, 2)
    assert state() == before
    with Checkpoints(epath.Path(copied)) as reopened:
        assert_parts(reopened, 2)
        reopened.save(4, **make_parts(4))
    assert not half.exists()


def test_a_manifest_cannot_lead_elsewhere(copied):
    """Nothing but files of the checkpoint is read."""
    path = copied / checkpoints.FOLDER / "2" / checksums.NAME
    sums = json.loads(path.read_text())
    path.write_text(json.dumps(sums | {"model/../../../../../../../dev/zero": "0"}))
    assert "is missing" in checksums.damage(epath.Path(path.parent))
    for content in ("[]", "[" * 100_000):
        path.write_text(content)
        assert "missing or damaged" in checksums.damage(epath.Path(path.parent))


STRAYS = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path),
    "large": lambda path: path.write_bytes(bytes(checksums.MAX_INDEX_BYTES + 1)),
}
PLACES = ["2", "2/checksums.json", "2/_CHECKPOINT_METADATA", "2/model/_METADATA", "2/model/more"]


@pytest.mark.parametrize("kind", STRAYS)
@pytest.mark.parametrize("place", PLACES)
def test_what_has_no_end_is_neither_waited_for_nor_read(copied, capsys, kind, place):
    path = copied / checkpoints.FOLDER / place
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    STRAYS[kind](path)
    with (
        pytest.raises(UserError) as error,
        Checkpoints(epath.Path(copied), read_only=True) as reopened,
    ):
        reopened.meta()
    if (place, kind) == ("2", "large"):
        assert_one_line(error, "checkpoints/2", "not a folder")
    else:
        assert_one_line(error, "checkpoints/2")
    with Checkpoints(epath.Path(copied)) as reopened:
        assert_parts(reopened, 1)
        reopened.save(2, **make_parts(2))
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "damaged-2" in said
    assert names(copied / checkpoints.FOLDER) == ["1", "2", "damaged-2"]


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_older_checkpoints_are_looked_through_too(copied, kind):
    """orbax reads their times."""
    path = copied / checkpoints.FOLDER / "1" / "_CHECKPOINT_METADATA"
    path.unlink()
    STRAYS[kind](path)
    with pytest.raises(UserError, match="checkpoints/1 is damaged"):
        Checkpoints(epath.Path(copied), read_only=True)
    with Checkpoints(epath.Path(copied)) as reopened:
        assert_parts(reopened, 2)
    assert names(copied / checkpoints.FOLDER) == ["2", "damaged-1"]


def test_links_that_lead_back_up_have_an_end(copied):
    (copied / checkpoints.FOLDER / "2" / "model" / "up").symlink_to(copied)
    with pytest.raises(UserError, match="folders deep"):
        Checkpoints(epath.Path(copied), read_only=True)


def test_folders_that_cannot_be_listed_are_one_line(copied, monkeypatch):
    """As they are for all but root, who may list any."""
    real, blocked = type(epath.Path(copied)).iterdir, ["model"]

    def iterdir(path):
        if path.name in blocked:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(type(epath.Path(copied)), "iterdir", iterdir)
    for name in ("model", "2", checkpoints.FOLDER):
        blocked[:] = [name]
        with pytest.raises(UserError) as error:
            Checkpoints(epath.Path(copied), read_only=True)
        assert_one_line(error, str(copied), "Permission denied")
    with pytest.raises(UserError) as error:
        Checkpoints(epath.Path(copied))
    assert_one_line(error, str(copied), "Permission denied", "permissions")
