"""Photos made to do harm: nothing is run, nothing hangs, nothing fills the memory."""

import contextlib
import io
import os
import re
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from damage import CHANGES, changed
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from cifsel.data.photos import decoding, pieces
from cifsel.data.photos import png as png_reader
from cifsel.errors import UserError

rng = np.random.default_rng(0)
SCENE = rng.integers(0, 255, (24, 40, 3), np.uint8)


def encode(image=SCENE, form="PNG", **options):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def refusal(data, name="photo"):
    with pytest.raises(UserError) as caught:
        decoding.decode(data, name)
    assert str(caught.value).isprintable()
    return str(caught.value)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks, width=16, height=16, bits=8, colours=0):
    """A black PNG, with chunks of its own in front of the pixels."""
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours]
    row = bytes(1 + width * bits * samples // 8)
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    parts = (chunk(b"IHDR", header), *chunks, chunk(b"IDAT", rows), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(tags, body=b"", side=16):
    """A black TIFF of 8-bit grey, with tags (number, type, count, value) of its own."""
    basic = [(256, 3, 1, side), (257, 3, 1, side), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
             (277, 3, 1, 1)]  # fmt: skip
    where = 8 + len(body) + len(body) % 2
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted([*basic, *tags]))
    directory = struct.pack("<H", len(basic) + len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", where) + body.ljust(where - 8, b"\0") + directory


STRIPS = [(273, 4, 1, 8), (278, 3, 1, 16), (279, 4, 1, 256)]


POSTSCRIPT = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n(MARKER) (w) file closefile\n"


@pytest.mark.parametrize(
    "content",
    [
        POSTSCRIPT,
        "%PDF-1.4\n1 0 obj<</OpenAction<</S/Launch/F(touch MARKER)>>>>endobj\ntrailer<<>>",
        '<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><svg>&b;</svg>",
        "push graphic-context\nimage over 0,0 0,0 'https://x|touch MARKER'\npop graphic-context",
        "import os; os.system('touch MARKER')",
    ],
    ids=["eps", "pdf", "svg", "entity", "mvg", "python"],
)
def test_documents_and_programs_named_as_photos(tmp_path, monkeypatch, content):
    marker = tmp_path / "marker"
    monkeypatch.setattr("subprocess.Popen", pytest.fail)
    path = tmp_path / "photo.jpg"
    path.write_text(content.replace("MARKER", str(marker)))
    assert "not a JPEG" in refusal(path)
    assert not marker.exists()


def test_postscript_within_an_image_format_is_not_run(monkeypatch):
    """Windows' metafiles and some TIFF hold other documents."""
    monkeypatch.setattr("subprocess.Popen", pytest.fail)
    dos_eps = b"\xc5\xd0\xd3\xc6" + struct.pack("<IIIIIIH", 30, 100, 0, 0, 0, 0, 0xFFFF)
    for content in (dos_eps + POSTSCRIPT.encode(), b"\xd7\xcd\xc6\x9a" + bytes(100)):
        assert "not a JPEG" in refusal(content)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "endless", "loop"])
def test_what_is_no_file_is_not_opened(tmp_path, kind):
    path = tmp_path / "photo.jpg"
    expected = "not a regular file"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        path = Path(f"/tmp/cifsel-{os.getpid()}.jpg")  # a socket's path cannot be long
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            message = refusal(path)
        path.unlink()
        assert expected in message
        return
    elif kind == "loop":
        path.symlink_to(path)
        expected = "a broken link"
    else:
        # Reading the kernel's messages would wait for the next one.
        target = "/dev/zero" if kind == "device" else "/proc/kmsg"
        if not os.path.exists(target):  # noqa: PTH110 - shorter
            pytest.skip(f"no {target} here")
        path.symlink_to(target)
        expected = expected if kind == "device" else "an empty file"
    assert expected in refusal(path)


def progressive(scans):
    """A JPEG of many scans, the last of them again and again."""
    data = encode(form="JPEG", progressive=True)
    tables = data.rindex(b"\xff\xc4")
    assert data.index(b"\xff\xda", tables)
    return data[:-2] + data[tables:-2] * scans + b"\xff\xd9"


def test_jpegs_of_endless_scans_are_refused():
    assert decoding.decode(progressive(20), "photo").pixels.shape == SCENE.shape
    assert "scans and 0 kB of EXIF; expected 100" in refusal(progressive(200))
    # The same, as the previews in EXIF and what phones put behind a photo do not count.
    thumbnail = b"\xff\xe1\xff\xff" + (b"x" + progressive(100)).ljust(65533, b"x")
    data = encode(form="JPEG")
    assert decoding.decode(data[:2] + thumbnail + data[2:] + progressive(200), "photo").pixels.any()
    # Markers of no length must not hide any.
    hidden = progressive(200).replace(b"\xff\xda", b"\xff\x01\xff\xda")
    assert "scans" in refusal(hidden)


# A twentieth of the real limit, which Pillow takes seconds to reach.
MANY = pieces.MAX_PIECES // 20


def within(data, start, inserted):
    return data[:start] + inserted + data[start:]


def gif_with(inserted):
    data = encode(Image.new("P", (16, 16)), "GIF")
    return within(data, data.index(b","), inserted)


IN_PIECES = {
    "JPEG segments": lambda: within(encode(form="JPEG"), 2, b"\xff\xe5\0\2" * MANY),
    "JPEG fill": lambda: within(encode(form="JPEG"), 2, b"\xff" * MANY),
    "PNG chunks": lambda: png(chunk(b"abCd", b"") * MANY),
    "PNG pixels": lambda: png(chunk(b"IDAT", b"") * MANY),
    "GIF extensions": lambda: gif_with(b"!\xf9\x04\0\0\0\0\0" * MANY),
    "GIF comment": lambda: gif_with(b"!\xfe" + b"\1a" * MANY + b"\0"),
    "TIFF tiles": lambda: tiff(
        [(322, 4, 1, 1), (323, 4, 1, 1), (324, 4, MANY, 8), (325, 4, MANY, 8)],
        struct.pack("<I", 0) * MANY,
        side=1000,
    ),
}


@pytest.mark.parametrize("kind", IN_PIECES)
def test_files_of_countless_pieces_are_refused(kind, monkeypatch):
    for module in (pieces, png_reader):
        monkeypatch.setattr(module, "MAX_PIECES", MANY)
    assert "too many pieces" in refusal(IN_PIECES[kind]())


def test_tiff_of_numbers_without_end_is_refused():
    many = pieces.MAX_TAG_BYTES // 8
    assert "too much beside the image" in refusal(
        tiff([*STRIPS, (282, 5, many, 8)], bytes(8 * many))
    )
    # All at one place.
    tags = [(30_000 + number, 7, 100_000, 8) for number in range(400)]
    data = tiff([*STRIPS, *tags], bytes(100_000))
    try:  # What does not fit into the file is passed over by newer versions of Pillow.
        assert decoding.decode(data, "photo").pixels.shape == (16, 16, 3)
    except UserError as error:
        assert "too much beside the image" in str(error)


def test_damaged_lines_of_a_tiff_are_not_told_one_by_one(capfd):
    grey = Image.fromarray(rng.integers(0, 255, (400, 300), np.uint8)).convert("1")
    data = bytearray(encode(grey, "TIFF", compression="group4"))
    data[200:3000] = bytes(2800)
    os.write(2, b"before\n")
    with contextlib.suppress(UserError):
        decoding.decode(bytes(data), "photo")
    os.write(2, b"after\n")
    assert capfd.readouterr() == ("", "before\nafter\n")


def exif(tags, body=b""):
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    where = struct.pack("<I", 8 + len(body))
    return b"II*\0" + where + body + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("count", [1, decoding.MAX_JPEG_EXIF_BYTES // 8])
def test_exif_that_is_too_long_for_a_jpeg(count):
    data = exif([(274, 3, 1, 6), (282, 5, count, 8)], bytes(8 * count))
    # Only a JPEG's EXIF has a limit.
    turned = decoding.decode(png(chunk(b"eXIf", data), width=32), "photo").pixels.shape
    assert turned == (32, 16, 3)
    jpeg = encode(form="JPEG")
    parts = [b"Exif\0\0" + data[start : start + 65_000] for start in range(0, len(data), 65_000)]
    inside = b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part for part in parts)
    if count == 1:
        assert decoding.decode(jpeg[:2] + inside + jpeg[2:], "photo").pixels.shape == (40, 24, 3)
    else:
        assert "kB of EXIF" in refusal(jpeg[:2] + inside + jpeg[2:])


@pytest.mark.parametrize("orientation", [0, 9, 255, 9999])
def test_absurd_orientations_are_passed_over(orientation):
    made = Image.Exif()
    made[ExifTags.Base.Orientation] = orientation
    assert decoding.decode(encode(form="JPEG", exif=made), "photo").pixels.shape == SCENE.shape


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_of_many_frames_one_is_read(form):
    frames = [Image.new("L", (16, 16), level % 256) for level in range(7, 307)]
    data = encode(frames[0], form, save_all=True, append_images=frames[1:], lossless=True)
    assert abs(decoding.decode(data, "photo").pixels.astype(int) - 7).max() <= 1


def test_compressed_bmp_is_refused():
    header = struct.pack("<IiiHHIIiiII", 40, 20_000, 6_000, 1, 8, 1, 4, 0, 0, 256, 0)
    data = b"BM" + struct.pack("<IHHI", 1082, 0, 0, 1078) + header + bytes(1024) + b"\1\5\0\0"
    assert "a compressed BMP" in refusal(data)


@pytest.mark.slow
def test_photos_that_expand_to_the_limit_and_beyond(tmp_path, read_within):
    """The largest that are decoded, and what is not, within 1.5 GB and seconds."""
    bomb = zlib.compress(bytes(2**27), 1)
    webp = b"WEBPVP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + b"\xfe\x3f\0" * 2
    sources = {
        "": png(width=12_000, height=10_000, bits=16),
        "megapixels": png(width=12_001, height=10_000),
        # The latter before Pillow 13.
        "megapixels|decoder, as WebP": b"RIFF" + struct.pack("<I", len(webp)) + webp,
        "pixels; expected": png(width=100_000, height=1),
        # Passed over.
        ", a text": png(chunk(b"zTXt", b"a\0\0" + bomb)),
        ", a profile": png(chunk(b"iCCP", b"a\0\0" + bomb)),
    }
    paths = [tmp_path / f"{number}.png" for number in range(len(sources))]
    for path, content in zip(paths, sources.values(), strict=True):
        path.write_bytes(content)
    code = (
        "from cifsel.data.photos import decoding\n"
        "read = lambda path: decoding.decode(path, 'photo')"
    )
    said = read_within(code, paths, 1500)
    for expected, message in zip(sources, said, strict=True):
        assert re.search(expected.partition(",")[0], message), message
        assert bool(message) == bool(expected.partition(",")[0])


# --- anything ------------------------------------------------------------------------------------

WHOLE = [
    *(encode(form=form) for form in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP")),
    encode(form="TIFF", compression="tiff_lzw"),
    encode(form="JPEG", progressive=True),
    encode(Image.fromarray(SCENE).convert("P"), "PNG", transparency=3),
    encode(Image.fromarray(SCENE).convert("CMYK"), "JPEG"),
]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.sampled_from(WHOLE), changes=CHANGES)
def test_damage_gives_a_user_error_or_a_photo(data, changes):
    try:
        pixels = decoding.decode(changed(data, changes), "photo").pixels
    except UserError as error:
        assert str(error).startswith("photo: ")
        assert str(error).isprintable()
    else:
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] == 3
        assert max(pixels.shape) <= decoding.MAX_SIDE
