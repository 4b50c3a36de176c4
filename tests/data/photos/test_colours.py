"""Colour profiles, modes, depths and transparency of photos."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms
from scene import SCENE, encode, pixels, png


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
