"""EXIF, colour profiles and texts of any size: used where they are of use, else passed over."""

import io
import logging
import struct
import time
import zlib
from datetime import datetime

import numpy as np
import pytest
from paths import REPO
from PIL import ExifTags, Image, ImageCms, features

from cifsel.data.photos import decoding, png
from cifsel.data.photos.decoding import decode
from cifsel.errors import UserError

CASES = REPO.parent / "shared" / "cases"
SCENE = np.zeros((24, 40, 3), np.uint8)
SCENE[:12, :16], SCENE[12:, 16:] = (200, 40, 40), (230, 220, 60)
WHEN = datetime(2026, 5, 4, 10, 11, 12)


def large_exif(extra: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.ImageDescription] = "x" * extra
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.DateTimeOriginal: "2026:05:04 10:11:12",
        ExifTags.Base.MakerNote: b"m" * extra,
    }
    return exif.tobytes()


def encode(form="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(SCENE).save(file, form, **options)
    return file.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(*chunks, behind=False):
    """A PNG with chunks of its own in front of the pixels or behind them."""
    data = encode()
    at = data.index(b"IEND" if behind else b"IDAT") - 4
    return data[:at] + b"".join(chunks) + data[at:]


@pytest.mark.parametrize("extra", [1_000, 70_000, 3_000_000])
@pytest.mark.parametrize("form", ["PNG", "WEBP", "AVIF"])
def test_exif_of_any_size_turns_and_dates_a_photo(form, extra):
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    lossless = {"WEBP": {"lossless": True}, "AVIF": {"quality": 95}}.get(form, {})
    photo = decode(encode(form, exif=large_exif(extra), **lossless), "photo")
    assert photo.taken == WHEN
    expected = SCENE if form == "AVIF" else np.rot90(SCENE, -1)
    if form != "AVIF":
        np.testing.assert_array_equal(photo.pixels, expected)
    assert photo.pixels.shape == (40, 24, 3)


def test_exif_in_a_png_text_and_behind_the_pixels():
    block = large_exif(100_000)
    text = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    packed = b"Raw profile type exif\0\0" + zlib.compress(text)
    for data in (
        with_chunks(chunk(b"zTXt", packed)),
        with_chunks(chunk(b"eXIf", block.removeprefix(b"Exif\0\0")), behind=True),
    ):
        photo = decode(data, "photo")
        assert photo.taken == WHEN
        np.testing.assert_array_equal(photo.pixels, np.rot90(SCENE, -1))


def test_orientation_in_xmp_counts_where_exif_has_none():
    xmp = b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="3"/>'
    np.testing.assert_array_equal(
        decode(with_chunks(chunk(b"iTXt", xmp)), "photo").pixels, SCENE[::-1, ::-1]
    )


@pytest.mark.parametrize("name", ["webp", "png", "avif"])
def test_cases_of_exif_over_64_kb(name):
    path = CASES / f"exif-70kB-orientation6.{name}"
    if not path.is_file():
        pytest.skip(f"no {path}")
    photo = decode(path, "photo")
    assert photo.pixels.shape == (90, 60, 3)
    assert photo.taken == datetime(2023, 4, 27, 19, 44, 18)


def bomb():
    """An EXIF block of 1 MB whose tags are 5 GB, as all of them point at the same bytes."""
    count, size = 5_000, 1_000_000
    entries = b"".join(struct.pack("<HHII", 700 + n, 7, size, 8) for n in range(count))
    where = struct.pack("<I", 8 + size)
    return b"II*\0" + where + bytes(size) + struct.pack("<H", count) + entries + bytes(4)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_tags_that_multiply_are_not_read(form):
    lossless = {"lossless": True} if form == "WEBP" else {}
    began = time.process_time()
    photo = decode(encode(form, exif=b"Exif\0\0" + bomb(), **lossless), "photo")
    np.testing.assert_array_equal(photo.pixels, SCENE)
    assert time.process_time() - began < 2


def test_tags_that_multiply_in_an_avif_are_not_read():
    """Newer versions of Pillow leave them out when they open the file, others would not."""
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    try:
        assert decode(encode("AVIF") + bomb(), "photo").pixels.shape == SCENE.shape
    except UserError as error:
        assert "too much beside the image" in str(error)


def srgb_with_blue_for_red(size):
    """sRGB's profile with two primaries exchanged, and padded to a size."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"????", 1).replace(b"bXYZ", b"rXYZ", 1)
    profile = profile.replace(b"????", b"bXYZ", 1)
    return struct.pack(">I", max(size, len(profile))) + profile[4:].ljust(size, b"\0")


@pytest.mark.parametrize("size", [0, 1_500_000, 8_000_000])
def test_large_profiles_of_a_png_are_used(size):
    packed = b"printer\0\0" + zlib.compress(srgb_with_blue_for_red(size), 1)
    pixels = decode(with_chunks(chunk(b"iCCP", packed)), "photo").pixels
    np.testing.assert_allclose(pixels.astype(int), SCENE[..., ::-1], atol=2)


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"iCCP", b"bomb\0\0" + zlib.compress(bytes(png.MAX_PROFILE_BYTES + 1), 1)),
        chunk(b"iCCP", b"damaged\0\0 no zlib"),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(30_000_000), 1)),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(30_000_000), 1)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(30_000_000), 1)),
        chunk(b"tEXt", b"workflow\0" + b"x" * 5_000_000),
        *[chunk(b"tEXt", b"workflow\0" + b"x" * 1_000_000) * 80],
    ],
    ids=["profile", "damaged profile", "text", "exif", "xmp", "plain text", "many texts"],
)
def test_large_extras_of_a_png_are_passed_over(extra):
    for behind in (False, True):
        pixels = decode(with_chunks(extra, behind=behind), "photo").pixels
        np.testing.assert_array_equal(pixels, SCENE)


def test_a_damaged_end_of_a_png_is_still_told():
    data = with_chunks(chunk(b"tEXt", b"a\0b"))
    with pytest.raises(UserError, match="damaged"):
        decode(data[: data.index(b"IDAT") + 10], "photo")


def test_pillow_logs_nothing_beside_the_refusal(caplog, capfd):
    """Its TIFF reader logs an error and raises another one for a pixel of 64 samples."""
    basic = [(256, 3, 1, 16), (257, 3, 1, 16), (258, 3, 1, 8), (262, 3, 1, 2), (277, 3, 1, 64)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in basic)
    data = b"II*\0" + struct.pack("<IH", 8, len(basic)) + entries + bytes(4)
    with pytest.raises(UserError, match="not a JPEG"):
        decode(data, "photo")
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
    assert not logging.getLogger("PIL.TiffImagePlugin").isEnabledFor(logging.ERROR)


def test_pillow_reads_no_file_over_and_over(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_READS", 0)
    monkeypatch.setattr(decoding, "MAX_TAG_BYTES", 0)
    with pytest.raises(UserError, match="too much beside the image"):
        decode(encode("JPEG"), "photo")
