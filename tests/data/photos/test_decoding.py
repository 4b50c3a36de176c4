"""Decoding a photo of any format, and refusing one that is damaged or too large."""

import io
import struct
import sys
import warnings
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, features
from scene import FORMATS, LOSSY, SCENE, encode, pixels, png, reason

from cifsel.data.photos import decoding
from cifsel.errors import UserError


@pytest.mark.parametrize("form", FORMATS)
def test_formats_are_told_by_content(tmp_path, form):
    path = tmp_path / "misnamed.txt"
    path.write_bytes(encode(SCENE, form))
    photo = decoding.decode(path, "photo")
    assert photo.pixels.dtype == np.uint8
    assert photo.taken is None
    inner = np.s_[2:10, 2:14]
    np.testing.assert_allclose(photo.pixels[inner], SCENE[inner], atol=6 if form in LOSSY else 0)
    assert photo.pixels.shape == SCENE.shape


def test_gif_shows_its_first_frame():
    frames = [Image.fromarray(SCENE), Image.fromarray(255 - SCENE)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(pixels(file.getvalue()), SCENE)


def test_heic_is_read_upright():
    pytest.importorskip("pillow_heif", reason="HEIC needs the extra").register_heif_opener()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.DateTimeOriginal: "2026:05:04 10:11:12"}
    scene = SCENE.repeat(4, 0).repeat(4, 1)
    photo = decoding.decode(
        encode(np.rot90(scene), "HEIF", quality=95, exif=exif.tobytes()), "photo"
    )
    assert photo.pixels.shape == scene.shape
    np.testing.assert_allclose(photo.pixels[::16, 4::16].astype(int), scene[::16, 4::16], atol=12)
    assert photo.taken == datetime(2026, 5, 4, 10, 11, 12)


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"avif"])
def test_formats_of_the_extra_name_it(monkeypatch, brand):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(features, "check", lambda name: False)
    assert "pip install 'cifsel[heic]'" in reason(
        struct.pack(">I4s4s", 16, b"ftyp", brand) + bytes(9)
    )


def test_large_photos_are_reduced():
    scene = SCENE.repeat(125, 0).repeat(100, 1)
    for form in ("JPEG", "PNG"):
        result = pixels(encode(scene, form))
        assert result.shape == (576, 768, 3)
        expected = SCENE.repeat(24, 0)[:, np.arange(768) * 40 // 768]
        np.testing.assert_allclose(
            result[20::48, 10::32].astype(int), expected[20::48, 10::32], atol=6
        )


@pytest.mark.parametrize("size", [(100_000, 1), (1, 100_000), (2_000, 90), (7, 7)])
def test_ruler_like_and_tiny_images_are_refused(size):
    assert "pixels; expected 8 or more" in reason(encode(Image.new("L", size)))


@pytest.mark.parametrize("side", [11_000, 15_000, 60_000])
def test_images_that_would_fill_the_memory_are_refused_unread(side):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "more than 120 megapixels" in reason(png(side, side, 8, 2, b""))


@pytest.mark.parametrize("form", FORMATS)
def test_files_cut_short_are_refused(form):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    data = encode(noise, form)
    for keep in (0.9, 0.5, 0.02):
        assert reason(data[: int(keep * len(data))], "a.jpg").startswith("a.jpg: ")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty"),
        (b"hello", "not a JPEG"),
        (b"PK\x03\x04" + bytes(40), "not a JPEG"),
        (b"cos\nsystem\n(S'touch /tmp/x'\ntR.", "not a JPEG"),
        (struct.pack(">I4s4s", 16, b"ftyp", b"qt  ") + bytes(9), "not a JPEG"),
        (Path("/no/such/photo.jpg"), "no such file"),
        (Path("/dev/zero"), "not a regular file"),
    ],
)
def test_what_is_no_photo_says_why(data, expected):
    assert expected in reason(data, "odd\nname\u202e.jpg")


DAMAGED = [encode(SCENE, form) for form in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP")]


@settings(max_examples=150, deadline=None)
@given(
    data=st.sampled_from(DAMAGED),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=4)), max_size=8),
)
def test_damage_never_causes_anything_but_a_user_error(data, changes):
    damaged = bytearray(data)
    for position, new in changes:
        start = int(position * len(damaged))
        damaged[start : start + len(new)] = new
    try:
        result = pixels(bytes(damaged))
    except UserError as error:
        assert str(error).isprintable()
    else:
        assert result.dtype == np.uint8
        assert result.shape[2] == 3


def test_limit_on_files(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "MAX_FILE_BYTES", 10)
    (tmp_path / "a.png").write_bytes(encode(SCENE))
    assert "expected 0 at most" in reason(tmp_path / "a.png")
