import io
import struct
import sys
import warnings
import zlib
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, features

from cifsel.data.photos import decoding
from cifsel.errors import UserError

# Four colours, one in each corner; nothing is symmetric.
SCENE = np.zeros((24, 40, 3), np.uint8)
SCENE[:12, :16], SCENE[:12, 16:], SCENE[12:, :16], SCENE[12:, 16:] = (
    (200, 40, 40),
    (40, 180, 40),
    (40, 40, 220),
    (230, 220, 60),
)
LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "GIF": {}, "WEBP": {"lossless": True}}
LOSSY = {"JPEG": {"quality": 95, "subsampling": 0}, "AVIF": {"quality": 95}}
FORMATS = [*LOSSLESS, "JPEG"]
if "avif" in features.get_supported():  # which comes with Pillow 11.3
    FORMATS.append("AVIF")


def encode(image, form="PNG", **options):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, form, **{**LOSSLESS, **LOSSY}.get(form, {}), **options)
    return file.getvalue()


def pixels(data):
    return decoding.decode(data, "photo").pixels


def reason(data, name="photo"):
    with pytest.raises(UserError) as caught:
        decoding.decode(data, name)
    assert str(caught.value).isprintable()
    return str(caught.value)


def png(width, height, bits, colour_type, rows):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))


# --- one photo


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


# EXIF's orientations, written with numpy.
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(form, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    expected = UPRIGHT[orientation](SCENE)
    np.testing.assert_array_equal(pixels(encode(SCENE, form, exif=exif)), expected)


def icc(space, tags):
    """An ICC profile of version 2 for a display."""
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s12s4s", 132 + len(table) - 4 + len(body), bytes(4), 0x02100000,
                       b"mntr", space, b"XYZ ", bytes(12), b"acsp").ljust(68, b"\0")  # fmt: skip
    return (head + D50[8:]).ljust(128, b"\0") + table + body


D50 = b"XYZ \0\0\0\0" + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
LINEAR = b"curv" + bytes(8)


def test_colour_profiles_are_converted_to_srgb():
    # The profile of sRGB itself, in which what is called red is blue.
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"????", 1).replace(b"bXYZ", b"rXYZ", 1)
    swapped = swapped.replace(b"????", b"bXYZ", 1)
    for form in ("PNG", "TIFF", "WEBP"):
        result = pixels(encode(SCENE, form, icc_profile=swapped)).astype(int)
        np.testing.assert_allclose(result, SCENE[..., ::-1], atol=2)


@pytest.mark.parametrize(
    ("profile", "mode"),
    [
        ("RGB", "RGB"),
        ("RGB", "RGBA"),
        ("RGB", "P"),
        ("RGB", "L"),  # a program that turned the photo grey may have kept the profile
        ("GRAY", "L"),
        ("GRAY", "LA"),
    ],
)
def test_linear_profiles_are_converted_in_every_mode(profile, mode):
    # The primaries of sRGB, adapted to D50.
    primaries = {b"r": (0.436, 0.2225, 0.0139), b"g": (0.3851, 0.7169, 0.0971),
                 b"b": (0.1431, 0.0606, 0.7141)}  # fmt: skip
    tags = {b"wtpt": D50, b"kTRC": LINEAR}
    for name, xyz in primaries.items():
        fixed = (round(value * 65536) for value in xyz)
        tags |= {name + b"XYZ": D50[:8] + struct.pack(">3I", *fixed), name + b"TRC": LINEAR}
    grey = Image.new("RGB", (16, 16), (55, 55, 55))
    image = grey.convert(mode, palette=Image.Palette.ADAPTIVE)
    data = encode(image, icc_profile=icc(profile.ljust(4).encode(), tags))
    # 55 / 255 of the light is, by the formula of sRGB, 1.055 * .2157 ** (1 / 2.4) - .055 = .502.
    np.testing.assert_allclose(pixels(data), 128, atol=1)


@pytest.mark.parametrize("profile", [b"", b"nonsense", bytes(200), icc(b"CMYK", {}),
                                     icc(b"RGB ", {b"rXYZ": D50})])  # fmt: skip
def test_broken_or_foreign_profiles_are_ignored(profile):
    data = encode(SCENE, icc_profile=profile) if profile else encode(SCENE)
    np.testing.assert_array_equal(pixels(data), SCENE)


def palette(**options):
    image = Image.new("P", (16, 16), 1)
    image.putpalette([10, 20, 30, 200, 100, 0])
    return encode(image, **options)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encode(Image.new("RGBA", (16, 16), (200, 0, 100, 51))), (244, 204, 224)),
        (encode(Image.new("RGBA", (16, 16), (200, 0, 100, 51)), "TIFF"), (244, 204, 224)),
        (encode(Image.new("LA", (16, 16), (0, 102))), (153, 153, 153)),
        (encode(Image.new("L", (16, 16), 7), transparency=7), (255, 255, 255)),
        (encode(Image.new("RGB", (16, 16), (1, 2, 3)), transparency=(1, 2, 3)), (255, 255, 255)),
        (palette(), (200, 100, 0)),
        (palette(transparency=1), (255, 255, 255)),
        (palette(transparency=b"\xff\x33"), (244, 224, 204)),
        (encode(Image.new("1", (16, 16), 1)), (255, 255, 255)),
        (encode(Image.new("1", (16, 16), 0), "TIFF"), (0, 0, 0)),
        (encode(Image.new("L", (16, 16), 90), "JPEG"), (90, 90, 90)),
        (encode(Image.new("I;16", (16, 16), 40 * 257)), (40, 40, 40)),
        (encode(Image.new("I;16", (16, 16), 40 * 257), "TIFF"), (40, 40, 40)),
        (encode(Image.new("I;16", (16, 16), 257), "TIFF"), (1, 1, 1)),  # dark, not of 8 bits
        (encode(Image.new("I;16B", (16, 16), 40 * 257), "TIFF"), (40, 40, 40)),
        (encode(Image.new("I", (16, 16), 40 * 257), "TIFF"), (40, 40, 40)),
        (encode(Image.new("I", (16, 16), -5), "TIFF"), (0, 0, 0)),
        (encode(Image.new("F", (16, 16), 0.4), "TIFF"), (102, 102, 102)),
        (encode(Image.new("F", (16, 16), float("nan")), "TIFF"), (0, 0, 0)),
        (png(8, 8, 16, 2, (b"\0" + struct.pack(">3H", 65535, 40 * 257, 0) * 8) * 8), (255, 40, 0)),
        (png(8, 8, 16, 6, (b"\0" + struct.pack(">4H", 0, 0, 0, 0x3333) * 8) * 8), (204, 204, 204)),
        (encode(Image.new("CMYK", (16, 16), (0, 255, 255, 51)), "TIFF"), (204, 0, 0)),
        # Written inverted, as Adobe does.
        (encode(Image.new("CMYK", (16, 16), (0, 255, 255, 51)), "JPEG"), (204, 0, 0)),
    ],
)
def test_modes_and_depths(data, expected):
    result = pixels(data)
    np.testing.assert_allclose(result, np.broadcast_to(expected, result.shape), atol=1)


def test_what_is_transparent_does_not_bleed_when_reduced():
    image = np.zeros((1600, 1600, 4), np.uint8)
    image[:, :801] = 255
    assert pixels(encode(image)).min() >= 254


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


def with_exif(tags, form="JPEG"):
    exif = Image.Exif()
    # Pillow writes a directory alone not to PNG, and not to TIFF unless it has read it.
    exif[ExifTags.Base.Make] = "camera"
    exif[ExifTags.IFD.Exif] = tags
    exif.load(exif.tobytes())
    return decoding.decode(encode(SCENE, form, exif=exif), "photo").taken


WHEN = ExifTags.Base.DateTimeOriginal
FRACTION = ExifTags.Base.SubsecTimeOriginal
ZONE = ExifTags.Base.OffsetTimeOriginal


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_time_taken(form):
    assert with_exif({WHEN: "2026:05:04 10:11:12"}, form) == datetime(2026, 5, 4, 10, 11, 12)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({WHEN: "2026:05:04 10:11:12", FRACTION: "05"}, datetime(2026, 5, 4, 10, 11, 12, 50_000)),
        ({WHEN: "2026:05:04 10:11:12", FRACTION: "x"}, datetime(2026, 5, 4, 10, 11, 12)),
        (
            {WHEN: "2026:05:04 10:11:12", ZONE: "+02:00"},
            datetime(2026, 5, 4, 10, 11, 12, tzinfo=timezone(timedelta(hours=2))),
        ),
        ({WHEN: "2026:05:04 10:11:12", ZONE: "+2"}, datetime(2026, 5, 4, 10, 11, 12)),
        ({WHEN: "0000:00:00 00:00:00"}, None),
        ({WHEN: "    :  :     :  :  "}, None),
        ({WHEN: "yesterday"}, None),
        ({ExifTags.Base.DateTimeDigitized: "2026:05:04 10:11:12"}, None),
    ],
)
def test_odd_times(tags, expected):
    assert with_exif(tags) == expected
    assert (with_exif(tags) or datetime.now()).tzinfo == (expected or datetime.now()).tzinfo


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\1\x12", b"Exif\0\0" * 9]
)
def test_damaged_exif_leaves_the_photo(exif):
    photo = decoding.decode(encode(SCENE, "JPEG", exif=exif), "photo")
    assert photo.pixels.shape == SCENE.shape
    assert photo.taken is None
