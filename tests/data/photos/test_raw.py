"""Raw files of cameras are refused, and not answered from the small preview in them."""

import struct

import pytest

from cifsel.data.photos.decoding import decode
from cifsel.errors import UserError

SIDE = 16
GREY = [(256, 3, 1, SIDE), (257, 3, 1, SIDE), (258, 3, 1, 8), (259, 3, 1, 1), (277, 3, 1, 1),
        (278, 3, 1, SIDE), (279, 4, 1, SIDE * SIDE)]  # fmt: skip
REDUCED, PLAIN, FILTERED, DNG = (254, 4, 1, 1), (262, 3, 1, 1), (262, 3, 1, 32803), (50706, 1, 4, 1)


def tiff(first, below=(), order="<", mark=b""):
    """A TIFF of 16 x 16 pixels with tags of its own, and directories below the first one."""
    pixels = bytes(range(256))
    start = 8 + len(mark)
    body, at, offsets = mark + pixels, start + len(pixels), []
    for tags in below:
        offsets.append(at)
        body += directory([*GREY, *tags, (273, 4, 1, start)], order)
        at = 8 + len(body)
    subs = [(330, 4, 1, offsets[0])] if offsets else []
    magic = {"<": b"II*\0", ">": b"MM\0*"}[order]
    return (
        magic
        + struct.pack(f"{order}I", at)
        + body
        + directory([*GREY, *first, *subs, (273, 4, 1, start)], order)
    )


def directory(tags, order):
    packed = b""
    for number, kind, count, value in sorted(tags):
        small = kind == 3 and order == ">"
        packed += struct.pack(f"{order}HHII", number, kind, count, value << 16 if small else value)
    return struct.pack(f"{order}H", len(tags)) + packed + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("first", "below", "kind"),
    [
        ([REDUCED, PLAIN, DNG], [[FILTERED]], "DNG"),
        ([PLAIN, DNG], [], "DNG"),
        ([FILTERED], [], "values of a sensor"),
        ([(262, 3, 1, 34892)], [], "values of a sensor"),
        ([REDUCED, PLAIN], [[FILTERED]], "values of a sensor"),
        ([PLAIN], [[FILTERED]], "values of a sensor"),
        ([REDUCED, PLAIN], [[PLAIN]], "its first image is a reduced one"),
    ],
)
def test_raw_files_that_are_tiff(first, below, kind, order):
    with pytest.raises(UserError) as caught:
        decode(tiff(first, below, order), "IMG_1.NEF")
    assert str(caught.value) == (
        f"IMG_1.NEF: a camera's raw file ({kind}), of which only a small preview could be used: "
        "export it as JPEG or TIFF with the camera's program"
    )


def test_canon_cr2():
    with pytest.raises(UserError, match=r"raw file \(Canon CR2\)"):
        decode(tiff([PLAIN], mark=b"CR\2\0\0\0\0\0"), "photo")


@pytest.mark.parametrize(
    ("beginning", "maker"),
    [
        (b"IIRO\x08\0\0\0", "Olympus"),
        (b"IIU\0\x18\0\0\0", "Panasonic"),
        (b"FUJIFILMCCD-RAW 0201", "Fujifilm"),
        (b"FOVb", "Sigma"),
        (b"\0MRM", "Minolta"),
        (b"II\x1a\0\0\0HEAPCCDR", "Canon CRW"),
        (struct.pack(">I", 24) + b"ftypcrx " + bytes(4), "Canon CR3"),
    ],
)
def test_raw_files_of_other_formats(beginning, maker):
    with pytest.raises(UserError, match=rf"raw file \({maker}\), not a finished photo: export"):
        decode(beginning + bytes(500), "photo")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("below", [[], [[REDUCED, PLAIN]]])
def test_usual_tiffs_are_read(order, below):
    """Also one with a smaller copy below its first image."""
    pixels = decode(tiff([PLAIN], below, order), "photo").pixels
    assert pixels.shape == (SIDE, SIDE, 3)
    assert pixels[0, 5].tolist() == [5, 5, 5]
