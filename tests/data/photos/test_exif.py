"""The EXIF of photos: their orientation, and the time they were taken."""

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from PIL import ExifTags, Image
from scene import SCENE, encode, pixels

from cifsel.data.photos import decoding

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
