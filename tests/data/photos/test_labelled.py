"""Folders and zips of photos, well-meant and ill-meant."""

import io
import os
import stat
import struct
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image

from cifsel.data.photos import files, labelled, sources
from cifsel.errors import UserError


def drawn(number):
    file = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), number, np.uint8)).save(file, "PNG")
    return file.getvalue()


def put(folder, *names):
    """Writes photos that differ into a folder."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(drawn(number))


def pack(path, *entries):
    """Writes a zip of names, or of (name or ZipInfo, content)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for number, entry in enumerate(entries):
            archive.writestr(*((entry, drawn(number)) if isinstance(entry, str) else entry))
    return path


def refusal(source):
    with pytest.raises(UserError) as caught:
        labelled.load_photos(str(source))
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.fixture
def album(tmp_path):
    """A source of two classes that is all right, for a test to add to."""
    put(tmp_path / "album", *[f"{label}/{i}.png" for label in ("b", "a") for i in range(2)])
    return tmp_path / "album"


def test_folders_and_zips_of_classes(tmp_path):
    put(tmp_path, "sad/2.png", "sad/more/deep/1.png", "sad/10.png")
    pack(tmp_path / "happy12.zip", "IMG_2.jpg", "happy12/IMG_1.jpg", "happy12/")
    loaded = labelled.load_photos(str(tmp_path))
    assert loaded.class_names == ("happy", "sad")
    assert loaded.names == (
        "happy12.zip/IMG_2.jpg",
        "happy12.zip/happy12/IMG_1.jpg",
        "sad/10.png",
        "sad/2.png",
        "sad/more/deep/1.png",
    )
    assert loaded.labels.tolist() == [0, 0, 1, 1, 1]
    assert loaded.labels.dtype == np.int32
    assert [int(image[0, 0, 0]) for image in loaded.images] == [0, 1, 2, 0, 1]
    assert loaded.taken == (None,) * 5
    assert loaded.skipped == ()


@pytest.mark.parametrize("wrapper", ["", "album/", "./"])
def test_zip_of_class_folders(tmp_path, wrapper):
    names = ["sad/1.jpg", "sad/2.jpg", "happy\\1.jpg", "happy/2.jpg"]
    path = pack(tmp_path / "album.zip", *[wrapper + name for name in names])
    loaded = labelled.load_photos(str(path))
    assert loaded.names == ("happy/1.jpg", "happy/2.jpg", "sad/1.jpg", "sad/2.jpg")
    assert loaded.class_names == ("happy", "sad")
    assert list(tmp_path.iterdir()) == [path]  # nothing was extracted


def test_sources_joined_by_commas(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    pack(tmp_path / "happy12.zip", "1.jpg", "2.jpg")
    put(tmp_path / "one, two", "1.png", "2.png")
    put(tmp_path / "sad", "1.png", "2.png")
    loaded = labelled.load_photos("~/happy12.zip, ~/sad/")
    assert loaded.names == ("happy12.zip/1.jpg", "happy12.zip/2.jpg", "sad/1.png", "sad/2.png")
    assert loaded.class_names == ("happy", "sad")
    assert "no classes" in refusal("~/one, two")  # one folder, with a comma in its name


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("happy12", "happy"),
        ("very happy - 03", "very happy"),
        ("Happy_2026-05", "Happy"),
        ("happy12 (1)", "happy"),
        ("12", "12"),
        ("u\u0308ber2", "\u00fcber"),
    ],
)
def test_names_of_zips(album, name, label):
    pack(album / f"{name}.ZIP", "1.jpg", "2.jpg")
    assert labelled.load_photos(str(album)).class_names == tuple(sorted(["a", "b", label]))


def test_what_systems_leave_behind_is_passed_over(album):
    litter = [".DS_Store", "a/._1.png", "a/Thumbs.db", "b/.hidden/1.png", "__MACOSX/a/._1.png",
              "a/desktop.ini", "desktop.ini"]  # fmt: skip
    for name in litter:
        (album / name).parent.mkdir(parents=True, exist_ok=True)
        (album / name).write_bytes(b"litter")
    (album / "empty").mkdir()
    pack(album / "c.zip", "1.jpg", "2.jpg", *[(name, b"litter") for name in litter])
    loaded = labelled.load_photos(str(album))
    assert len(loaded.names) == 6
    assert loaded.class_names == ("a", "b", "c")
    assert loaded.skipped == ()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["1.png", "2.png"], "2 files, no classes; expected a sub-folder or zip for each"),
        ([], "0 files, no classes"),
        (["a/1.png", "a/2.png"], "one class, 'a'"),
        (["a/1.png", "a/2.png", "b/1.png", "c/1.png"], "1 of 'b', 1 of 'c'; expected 2 or more"),
        (["A/1.png", "a/1.png", "b/1.png"], "A and a are both of class 'a': rename one"),
    ],
)
def test_folders_of_the_wrong_shape(tmp_path, files, expected):
    put(tmp_path, *files)
    assert expected in refusal(tmp_path)
    if files:
        assert expected in refusal(pack(tmp_path / "zipped.zip", *files))


def test_two_sources_of_one_class_are_refused(album):
    pack(album / "A12.zip", "1.jpg", "2.jpg")
    assert "A12.zip and a are both of class 'a'" in refusal(album)
    (album.parent / "other").mkdir()
    pack(album.parent / "other" / "a.zip", "1.jpg")
    assert "are both of class 'a'" in refusal(f"{album / 'A12.zip'},{album.parent / 'other/a.zip'}")


def test_sources_that_are_not_there_or_no_folders(tmp_path):
    put(tmp_path, "photo.png")
    (tmp_path / "bad.zip").write_bytes(b"PK nonsense")
    assert "no such folder or zip; expected" in refusal(tmp_path / "nowhere\n")
    assert "photo.png: not a folder or .zip file; expected" in refusal(tmp_path / "photo.png")
    assert "bad.zip: not a zip, or a damaged one" in refusal(tmp_path / "bad.zip")
    for nothing in ("", " , "):
        assert "photos is '" in refusal(nothing)


def make_unreadable(album):
    """Puts one of everything into an album that is no photo; returns what is said of each."""
    (album / "a/empty.jpg").touch()
    (album / "a/note\n.txt").write_text("hello")
    (album / "b/broken.jpg").symlink_to("nowhere")
    (album / "b/loop").symlink_to(album)
    os.mkfifo(album / "b/pipe.jpg")
    pack(album / "b/nested.zip", "1.jpg")
    put(album, "stray.png")
    return {
        "a/empty.jpg": "empty",
        "a/note\\n.txt": "not a JPEG",
        "b/broken.jpg": "a broken link",
        "b/loop": "not a regular file",
        "b/pipe.jpg": "not a regular file",
        "b/nested.zip": "not a JPEG",
        "stray.png": "not in the folder of a class",
    }


def test_unreadable_files_stop_the_run_or_are_listed(album):
    (album / "b/linked.png").symlink_to(album / "a/1.png")
    expected = make_unreadable(album)
    message = refusal(album)
    assert "7 of 12 files cannot be read as photos" in message
    assert message.count("empty") == 2  # name and reason
    assert "; and 4 more): convert or remove them" in message
    loaded = labelled.load_photos(str(album), skip_unreadable=True)
    assert loaded.names == ("a/0.png", "a/1.png", "b/0.png", "b/1.png", "b/linked.png")
    assert len(loaded.skipped) == 7
    for name, why in expected.items():
        assert any(line.startswith(f"{name}: ") and why in line for line in loaded.skipped)


def test_a_class_may_be_a_link_to_a_folder(album, tmp_path):
    put(tmp_path / "elsewhere", "1.png", "2.png")
    (album / "c").symlink_to(tmp_path / "elsewhere")
    assert labelled.load_photos(str(album)).class_names == ("a", "b", "c")


def test_limit_on_the_number_of_files(album, monkeypatch):
    monkeypatch.setattr(sources, "MAX_FILES", 3)
    assert "more than 3 files" in refusal(album)


# --- zips made to do harm


@pytest.mark.parametrize("name", ["../1.jpg", "/etc/1.jpg", "a/../../1.jpg", "C:/1.jpg", "c:1.jpg",
                                  "..\\1.jpg", "\\\\host\\1.jpg"])  # fmt: skip
def test_paths_out_of_the_zip_are_refused(album, name):
    pack(album / "c.zip", "1.jpg", "2.jpg", name)
    assert "leads out of the zip" in refusal(album)
    with pytest.raises(UserError, match="leads out"):
        labelled.load_photos(str(album), skip_unreadable=True)


def link(name):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


def uncommon(name):
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_BZIP2
    return info


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ((link("x.jpg"), b"/etc/passwd"), "x.jpg: a link or device"),
        ((uncommon("x.jpg"), drawn(0)), "x.jpg: compressed in an uncommon way"),
        (("x.png", bytes(20_000_000)), "x.png: expands 10"),
        (("x.jpg", os.urandom(50_000)), "x.jpg: 0 MB; expected 0 at most"),
        (("1.jpg", drawn(0)), "1.jpg: the zip holds two files of this name"),
        (("x\r\n\x1b[2J.jpg", b"?"), r"x\r\n\x1b[2J.jpg: not a JPEG"),
        (("x.zip", drawn(0)[:20]), "x.zip: "),
    ],
)
def test_zip_entries_that_are_not_read(album, monkeypatch, entry, expected):
    if "0 MB" in expected:
        monkeypatch.setattr(files, "MAX_FILE_BYTES", 40_000)
    pack(album / "c.zip", "1.jpg", "2.jpg", entry)
    assert f"1 of 7 files cannot be read as photos (c.zip/{expected}" in refusal(album)
    loaded = labelled.load_photos(str(album), skip_unreadable=True)
    assert len(loaded.names) == 6
    assert loaded.skipped[0].startswith(f"c.zip/{expected}")


def patched(path, offset, form, value):
    """Changes a field of the last entry in the directory of a zip."""
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, data.rindex(b"PK\x01\x02") + offset, value)
    path.write_bytes(data)


def test_encrypted_zips_are_refused(album):
    patched(pack(album / "c.zip", "1.jpg", "2.jpg"), 8, "<H", 1)
    assert "c.zip/2.jpg: encrypted: unpack the zip with its password" in refusal(album)


@pytest.mark.parametrize("claimed", [10, 10_000])
def test_zips_that_lie_about_sizes_are_caught(album, claimed):
    patched(pack(album / "c.zip", "1.jpg", ("2.jpg", bytes(5_000))), 24, "<I", claimed)
    assert "c.zip/2.jpg: damaged in the zip" in refusal(album)


def test_damaged_zip_entries_are_named(album):
    path = pack(album / "c.zip", "1.jpg", "2.jpg")
    data = bytearray(path.read_bytes())
    data[40:60] = bytes(20)
    path.write_bytes(data)
    assert "c.zip/1.jpg: damaged in the zip" in refusal(album)


def test_limit_on_all_zips_together(album, monkeypatch):
    monkeypatch.setattr(sources, "MAX_ZIP_BYTES", 250_000)
    for name in ("c.zip", "d.zip"):
        pack(album / name, "1.jpg", ("2.jpg", drawn(0) + os.urandom(100_000)))
    assert len(labelled.load_photos(str(album)).names) == 8
    pack(album / "e.zip", "1.jpg", ("2.jpg", drawn(0) + os.urandom(100_000)))
    assert "more than 5,000 files, or 0 GB in zips" in refusal(album)


def test_names_that_are_not_utf8(tmp_path):
    put(
        tmp_path,
        *[f"{folder}/{name}.png" for folder in ("caf\udce9", "b") for name in ("\udcff", 1)],
    )
    loaded = labelled.load_photos(str(tmp_path))
    assert loaded.class_names == ("b", r"caf\udce9")
    assert loaded.names[1] == r"b/\udcff.png"


def test_real_selfies(real_data):
    loaded = labelled.load_photos(str(real_data / "selfies"))
    assert loaded.class_names == ("happy", "sad")
    assert loaded.labels.tolist() == [0] * 12 + [1] * 12
    assert loaded.names[0] == "happy/happy_01.jpg"
    for image in loaded.images:
        assert image.shape == (350, 350, 3)
        assert (image == image[..., :1]).all()
        assert image.std() > 20
