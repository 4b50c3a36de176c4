"""Unpacking the second public set of own images."""

import io
import json
import tarfile

import pytest

from cifsel.errors import UserError
from experiments import emoji_images


def entry(image, category, drawn=True):
    return {"image": image, "category": category, "has_img_google": drawn}


@pytest.fixture
def package(tmp_path):
    """A package with two drawings of the classes, and two that do not count."""
    entries = [
        entry("1.png", "Objects"),
        entry("2.png", "Food & Drink"),
        entry("3.png", "Flags"),
        entry("4.png", "Objects", drawn=False),
    ]
    files = {"package/emoji.json": json.dumps(entries).encode()}
    files |= {f"package/img/google/64/{n}.png": bytes([n]) for n in (1, 2, 3)}
    path = tmp_path / "package.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_drawings_of_the_classes_are_unpacked(package, tmp_path):
    assert emoji_images.write_folder(package, tmp_path / "set") == 2
    files = {path: path.read_bytes() for path in (tmp_path / "set").rglob("*.png")}
    assert files == {
        tmp_path / "set/Objects/1.png": b"\x01",
        tmp_path / "set/Food & Drink/2.png": b"\x02",
    }
    with pytest.raises(UserError, match="set is not empty"):
        emoji_images.write_folder(package, tmp_path / "set")


def test_another_file_is_refused(tmp_path):
    other = tmp_path / "other.tgz"
    other.write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"other\.tgz is not the package emoji-datasource-google"):
        emoji_images.write_folder(other, tmp_path / "set")
