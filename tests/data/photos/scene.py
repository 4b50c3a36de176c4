"""A scene of four colours as a photo of any format, and how it is decoded."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, features

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
