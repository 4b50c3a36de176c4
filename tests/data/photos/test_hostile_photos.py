"""Zips and folders made to do harm: nothing unpacks without end, or leads in circles."""

import copy
import io
import os
import stat
import struct
import warnings
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from damage import CHANGES, changed
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cifsel.data.photos import files, grouping, labelled, search
from cifsel.errors import UserError

pytestmark = pytest.mark.slow

rng = np.random.default_rng(0)
SCENE = rng.integers(0, 255, (24, 40, 3), np.uint8)


def encode(image=SCENE, form="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, form, **options)
    return file.getvalue()


def pack(path, *entries, how=zipfile.ZIP_DEFLATED):
    """Writes a zip of (name or ZipInfo, content)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", how) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in entries:
            archive.writestr(name, content)
    return path


@pytest.fixture
def album(tmp_path):
    """Two classes that are all right, for a test to add to."""
    for name in ("a/0.png", "a/1.png", "b/0.png", "b/1.png"):
        (tmp_path / "album" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "album" / name).write_bytes(encode())
    return tmp_path / "album"


def refused(source):
    with pytest.raises(UserError) as caught:
        labelled.load_photos(str(source))
    assert str(caught.value).isprintable()
    return str(caught.value)


def photos_of(*arguments):
    with ExitStack() as stack:
        return [item.photo for item in search.find_photos(arguments, stack)]


def test_zip_of_a_list_without_end_is_refused(album):
    path = pack(album / "c.zip", ("1.png", encode()))
    data = path.read_bytes()
    start = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    many = 200_000
    closing = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, many * (end - start), start, 0)
    path.write_bytes(data[:start] + data[start:end] * many + closing)
    assert "c.zip: not a zip, or a damaged one (its list of files is larger" in refused(album)
    with pytest.raises(UserError, match="its list of files"):
        photos_of(str(path))


def test_zip_whose_files_overlap_is_refused(album):
    with zipfile.ZipFile(album / "c.zip", "w") as archive:
        archive.writestr("1.png", os.urandom(50_000))
        for number in range(100):
            again = copy.copy(archive.infolist()[0])
            again.filename = f"{number}.jpg"
            archive.filelist.append(again)
    assert "c.zip: holds files that take more room than it has" in refused(album)


def test_polyglots_are_what_they_are_read_as(album):
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w") as archive:
        for number in range(2):
            archive.writestr(f"{number}.png", encode(255 - SCENE))
    both = encode(form="JPEG", quality=95, subsampling=0) + inside.getvalue()
    (album / "a/photo.jpg").write_bytes(both)
    (album / "photos.zip").write_bytes(both)
    loaded = labelled.load_photos(str(album))
    by_name = dict(zip(loaded.names, loaded.images, strict=True))
    assert np.abs(by_name["a/photo.jpg"].astype(int) - SCENE).mean() < 20
    np.testing.assert_array_equal(by_name["photos.zip/1.png"], 255 - SCENE)


@pytest.mark.parametrize("target", ["c.zip", "/dev/zero", "nowhere"])
def test_zips_that_are_links_are_followed_to_files_only(album, target):
    (album / "c.zip").symlink_to(target)
    message = refused(album)
    assert "c.zip" in message
    assert (
        "not in the folder of a class" in message or "both of class" in message or "1 of" in message
    )


@pytest.mark.parametrize(
    "name", ["x" * 60_000, "\x1b]0;title\x07.png", "a/\u202egnp.exe", "\x9b2J"]
)
def test_names_in_zips_are_printable_and_short(album, name):
    pack(album / "c.zip", ("1.png", encode()), ("2.png", encode()), (name, b"no photo"))
    assert len(refused(album)) < 3_000
    (skipped,) = labelled.load_photos(str(album), skip_unreadable=True).skipped
    assert skipped.isprintable()


def test_modes_of_members_that_are_no_files(album):
    for number, kind in enumerate((stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK, stat.S_IFDIR)):
        info = zipfile.ZipInfo(f"{number}.png")
        info.create_system, info.external_attr = 3, (kind | 0o644) << 16
        pack(album / f"c{number}.zip", (info, encode()), ("y.png", encode()), ("z.png", encode()))
        assert f"c{number}.zip/{number}.png: a link or device" in refused(album)
        (album / f"c{number}.zip").unlink()


def test_photos_that_fill_the_memory_are_refused(album, monkeypatch):
    monkeypatch.setattr(labelled, "MAX_DECODED_BYTES", 4 * SCENE.nbytes)
    assert len(labelled.load_photos(str(album)).names) == 4
    (album / "b/2.png").write_bytes(encode())
    assert "the first 5 photos take 0 GB of memory" in refused(album)


def nested(depth, content):
    for level in range(depth):
        content = pack_bytes(f"{level}.zip", content)
    return content


def pack_bytes(name, content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def test_zips_in_zips_stay_closed(album):
    pack(album / "c.zip", ("1.png", encode()), ("2.png", encode()), ("x.zip", nested(5, b"")))
    assert "c.zip/x.zip: not a JPEG" in refused(album)


def test_zip_that_expands_without_end(tmp_path, read_within):
    """10 MB that say to be 200 MB, and are 10 GB: not more than 200 MB of them are unpacked."""
    path = tmp_path / "bomb.zip"
    info = zipfile.ZipInfo("1.png")
    info.compress_type = zipfile.ZIP_DEFLATED
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    body = b"".join(packer.compress(bytes(2**24)) for _ in range(64)) + packer.flush()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, b"")
        info.file_size, info.compress_size = 900_000, len(body)
    header = info.FileHeader()
    start = len(header) + len(body)
    central = path.read_bytes()
    central = central[central.index(b"PK\x01\x02") : central.index(b"PK\x05\x06")]
    closing = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, len(central), start, 0)
    path.write_bytes(header + body + central + closing)
    code = """if True:
        import zipfile
        from cifsel.data.photos import files
        def read(path):
            archive = zipfile.ZipFile(path)
            files.content(files.File("1.png", path, archive, archive.infolist()[0]))
    """
    (said,) = read_within(code, [path], 100)
    assert "1.png: damaged in the zip" in said


# --- folders -------------------------------------------------------------------------------------


def deep(folder, depth):
    """Makes folders in each other, deeper than any path may be long."""
    handle = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)


def remove_deep(folder):
    """Of which Python 3.11's shutil is not capable."""
    top = folder
    while (folder / "d").is_dir():
        half = folder.parent / "half"
        (folder / "d").rename(half)
        folder.rmdir()
        half.rename(folder)
    top.rmdir()


@pytest.mark.parametrize("depth", [files.MAX_DEPTH + 5, 1_500])
def test_folders_too_deep_are_refused(album, depth):
    (album / "c").mkdir()
    deep(album / "c", depth)
    try:
        assert "folders deep" in refused(album)
        for argument in (str(album), f"{album}/**", f"{album}/**/*.png"):
            try:
                assert len(photos_of(argument)) == 4
            except UserError as error:
                assert str(error).isprintable()
                assert "folders deep" in str(error) or "cannot be searched" in str(error)
    finally:
        remove_deep(album / "c")


def test_links_in_circles_do_not_multiply(album):
    for name in ("x", "y", "z"):
        (album / "a" / name).symlink_to(album)
    assert "a/x: not a regular file" in refused(album)
    photo_names = [str(album / name) for name in ("a/0.png", "a/1.png", "b/0.png", "b/1.png")]
    assert photos_of(f"{album}/**/*.png") == photo_names
    assert set(photo_names) <= set(photos_of(f"{album}/**"))
    for name in ("x", "y", "z"):
        (album / name).symlink_to(album)
    assert set(photo_names) <= set(photos_of(str(album)))
    assert len(photos_of(str(album))) < 100


def test_links_to_elsewhere_show_nothing_of_it(album, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    (album / "a/2.jpg").symlink_to(secret)
    assert "a/2.jpg: not a JPEG" in (message := refused(album))
    assert "the secret" not in message


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3_000, "~nobody-of-this-name", "nul\0"])
def test_sources_that_cannot_be(name):
    assert "no such folder or zip" in refused(name)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    names=st.lists(
        st.binary(min_size=1, max_size=30).filter(lambda name: not {0, 47} & {*name}),
        min_size=1,
        max_size=4,
        unique=True,
    )
)
def test_any_name_of_a_file_is_said_in_one_line(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("album")
    names = [name for name in names if name not in (b".", b"..")]
    for label in (b"a", b"b"):
        (folder / os.fsdecode(label)).mkdir()
        for name in (b"0.png", b"1.png"):
            Path(os.fsdecode(os.fsencode(folder) + b"/" + label + b"/" + name)).write_bytes(
                encode()
            )
    for name in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/a/" + name)).write_bytes(b"no photo")
    loaded = labelled.load_photos(str(folder), skip_unreadable=True)
    shown = [name for name in names if not files.is_litter(os.fsdecode(name))]
    assert len(loaded.skipped) == len(shown)
    assert len(loaded.names) == 4
    if shown:
        assert f"{len(shown)} of {4 + len(shown)} files cannot be read" in one_line(folder)
    for text in (*loaded.skipped, *loaded.names):
        assert not {character for character in text if not character.isprintable()} - SPACES


SPACES = {chr(code) for code in range(0x3001) if chr(code).isspace() and code > 0x20} - {
    *"\x85\u2028\u2029"
}


def one_line(source):
    with pytest.raises(UserError) as caught:
        labelled.load_photos(str(source))
    assert not {c for c in str(caught.value) if not c.isprintable()} - SPACES
    return str(caught.value)


# --- who is on them ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "large", "zeros", "quote", "binary"])
def test_lists_of_people_that_are_none(tmp_path, kind):
    path = tmp_path / "people\n.csv"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        content = {
            "large": b"photo,person\n" + b"a,b\n" * (grouping.MAX_CSV_BYTES // 4),
            "zeros": bytes(1000),
            "quote": b'photo,person\n"' + b"x" * 200_000,
            "binary": bytes(range(256)) * 9,
        }
        path.write_bytes(content[kind])
    with pytest.raises(UserError, match=r"people\\n\.csv: ") as caught:
        grouping.people_from_csv(path)
    assert str(caught.value).isprintable()


# --- anything -------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, derandomize=True)
@given(changes=CHANGES)
def test_damaged_zips_give_a_user_error_or_photos(tmp_path_factory, changes):
    path = pack(
        tmp_path_factory.mktemp("zips") / "album.zip",
        *((name, encode()) for name in ("a/0.png", "a/1.png", "b/0.png", "b/1.png")),
    )
    path.write_bytes(changed(path.read_bytes(), changes))
    try:
        loaded = labelled.load_photos(str(path), skip_unreadable=True)
    except UserError as error:
        assert "album.zip: " in str(error)
        assert str(error).isprintable()
    else:
        assert len(loaded.names) >= 4 - len(loaded.skipped)
