"""Decodes a photo: from the bytes of any format that phones write to an upright sRGB array.

The content tells the format, not the name. The size is checked before anything is decoded. Only
formats that hold nothing but images are tried, as Pillow would run Ghostscript for EPS.
"""

import contextlib
import dataclasses
import io
import logging
import math
import os
import re
from datetime import datetime
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageCms, ImageFile, UnidentifiedImageError, features

from cifsel.data.photos import png, tags
from cifsel.data.photos.pieces import MAX_TAG_BYTES, Pieces
from cifsel.data.photos.raw import refuse_raw
from cifsel.errors import UserError, one_line
from cifsel.runtime import silence

# More than twice the pixels of any model's input, so that a face can be cropped out.
MAX_SIDE = 768
# Phones make up to 108 megapixels by default. Pillow takes 4 bytes for each pixel, and some formats
# four times as much. The most that was measured is 1.9 GB, for animated WebP.
MAX_PIXELS = 120_000_000
# Smaller or longer than this are icons, rulers and tracking pixels.
MIN_SIDE, MAX_ELONGATION = 8, 20
MAX_FILE_BYTES = 200_000_000
# An encoder makes about 10 scans of a progressive JPEG, and the decoder goes through all pixels in
# each. EXIF in a JPEG has one segment, which Pillow reads when it opens the file. Other formats
# have no such limit.
MAX_SCANS, MAX_JPEG_EXIF_BYTES = 100, 2**16

# How often Pillow may read each byte of a file, on average, to load the pixels.
MAX_READS = 4

_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_ICC_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
# A marker that a length follows. Fill bytes and markers within a scan's data have none.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
_END, _SCAN = b"\xd9", b"\xda"
# Pillow raises what it logs, and the error says it in one line.
logging.getLogger("PIL").setLevel(logging.CRITICAL)
_TOO_LARGE = f"more than {MAX_PIXELS / 1e6:.0f} megapixels: reduce it"


@dataclasses.dataclass(frozen=True)
class Photo:
    """One decoded photo.

    Attributes:
      pixels: sRGB, upright, with no side longer than `MAX_SIDE`.
      taken: EXIF's DateTimeOriginal, with a time zone only if the camera noted one, or None.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    taken: datetime | None


def decode(source: bytes | os.PathLike[str], name: str) -> Photo:
    """Decodes a photo: JPEG, PNG, WebP, GIF (its first frame), BMP, TIFF, HEIC or AVIF.

    EXIF's orientation is applied. Colours are converted to sRGB by the embedded profile, unless it
    is broken. Transparent pixels become white.

    Args:
      source: the bytes of the file, or its path.
      name: of the photo, for messages.

    Raises:
      UserError: there is no such file, or it is damaged, cut short or no photo. Or it has more than
        `MAX_PIXELS`, is very small or very long, is made to be slow to decode, or needs the extra
        'heic'.
    """
    try:
        data = source if isinstance(source, bytes) else _file_bytes(Path(source))
        # Pillow warns of odd metadata, and of sizes that are checked below.
        with silence.no_warnings():
            formats = _formats(data)
            data, profile = png.without_extras(data)
            is_tiff = data[:2] in (b"II", b"MM")
            pieces = Pieces(data, MAX_TAG_BYTES if is_tiff else math.inf)
            with Image.open(pieces, formats=formats) as image:
                # Pillow reads more tags of a TIFF when it loads the pixels.
                pieces.bytes_left = MAX_READS * len(data) + MAX_TAG_BYTES
                if profile:
                    image.info["icc_profile"] = profile
                return _photo(image, data if is_tiff else None)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    except Image.DecompressionBombError:  # Pillow's own limit is higher, but comes first
        raise UserError(f"{name}: {_TOO_LARGE}") from None
    except UnidentifiedImageError:
        problem = "not a JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF image, or a damaged one"
        raise UserError(f"{name}: {problem}") from None
    except Exception as error:  # Pillow's parsers raise many kinds of exceptions for damage
        raise UserError(f"{name}: damaged or cut short ({one_line(error)})") from error


def _file_bytes(path: Path) -> bytes:
    if not path.is_file():  # Reading from a pipe would never end.
        problem = "not a regular file" if path.exists() else "no such file"
        raise UserError("a broken link" if path.is_symlink() and not path.exists() else problem)
    if (size := path.stat().st_size) > MAX_FILE_BYTES:
        raise UserError(f"{size / 1e6:.0f} MB; expected {MAX_FILE_BYTES / 1e6:.0f} at most")
    with path.open("rb") as file:
        return file.read(size)  # Files of /proc that never end have size 0.


def _formats(data: bytes) -> tuple[str, ...]:
    """Returns Pillow's names of the formats that the data may have."""
    if not data:
        raise UserError("an empty file")
    refuse_raw(data)
    brands: set[bytes] = set()
    if data[4:8] == b"ftyp":  # HEIC and AVIF begin with a list of brands, as videos do.
        end = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[start : start + 4] for start in range(8, end, 4)}
    if brands & {b"avif", b"avis"}:
        if features.check("avif"):
            tags.check_exif_blocks(data)  # Pillow copies all of their tags when it opens the file.
            return ("AVIF",)
        raise UserError("AVIF needs a newer Pillow: pip install 'cifsel[heic]'")
    if brands & _HEIF_BRANDS:
        try:
            import pillow_heif
        except ImportError:
            raise UserError("HEIC needs pillow-heif: pip install 'cifsel[heic]'") from None
        pillow_heif.register_heif_opener()
        return ("HEIF",)
    if data[:2] == b"\xff\xd8":
        _check_jpeg(data)
    return _FORMATS


def _check_jpeg(data: bytes) -> None:
    at, scans, exif = 2, 0, 0
    while (marker := _JPEG_MARKER.search(data, at)) and marker[1] != _END:
        start = marker.end()
        at = start + int.from_bytes(data[start : start + 2], "big")
        scans += marker[1] == _SCAN
        exif += at - start if data[start + 2 : start + 6] == b"Exif" else 0
    if scans > MAX_SCANS or exif > MAX_JPEG_EXIF_BYTES:
        raise UserError(
            f"a JPEG of {scans} scans and {exif / 1e3:.0f} kB of EXIF; expected {MAX_SCANS} and"
            f" {MAX_JPEG_EXIF_BYTES / 1e3:.0f} at most: save it anew"
        )


def _photo(image: ImageFile.ImageFile, tiff: bytes | None) -> Photo:
    """Decodes an image that was opened and not loaded yet.

    Args:
      image: the image.
      tiff: the file, if it is a TIFF. Pillow turns these upright by itself.
    """
    _check_size(image)
    if (long := max(image.size)) > MAX_SIDE:
        # A JPEG is decoded much quicker at a fraction of its size. The filter below does the rest.
        enough = 2 * MAX_SIDE / long
        image.draft(None, (math.ceil(image.width * enough), math.ceil(image.height * enough)))
    if any(tile[0] == "bmp_rle" for tile in image.tile):  # Pillow reads it pixel by pixel.
        raise UserError("a compressed BMP: save it as a PNG")
    # libtiff writes messages about damaged lines.
    with silence.no_stderr() if image.format == "TIFF" else contextlib.nullcontext():
        image.load()
    taken, turn = _metadata(image, tiff)
    return Photo(_pixels(image, turn), taken)


def pixels_of(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of an image of Pillow, as `decode` would give them of its file.

    The caller's image is trusted to be harmless, as it is in memory already.

    Raises:
      UserError: it has more than `MAX_PIXELS`, or is very small or very long.
      Exception: of any kind, if it was opened and its file is damaged.
    """
    _check_size(image)
    image.load()
    # Pillow has turned a TIFF upright by itself.
    return _pixels(image, None if image.format == "TIFF" else _metadata(image, None)[1])


def _check_size(image: Image.Image) -> None:
    short, long = sorted(image.size)
    if short * long > MAX_PIXELS:
        raise UserError(_TOO_LARGE)
    if short < MIN_SIDE or long > MAX_ELONGATION * short:
        raise UserError(
            f"{image.width} x {image.height} pixels; expected {MIN_SIDE} or more, and no side over "
            f"{MAX_ELONGATION} times the other"
        )


def _pixels(image: Image.Image, turn: Image.Transpose | None) -> UInt8[np.ndarray, "h w 3"]:
    """Converts a loaded image to upright sRGB with no side longer than `MAX_SIDE`."""
    plain = _plain(image)
    if (scale := MAX_SIDE / max(plain.size)) < 1:
        size = round(plain.width * scale), round(plain.height * scale)
        plain = plain.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    alpha = plain.getchannel("A") if plain.mode in ("LA", "RGBA") else None
    colours = plain.convert(plain.mode.removesuffix("A")) if alpha else plain
    colours = _srgb(colours, image.info.get("icc_profile"))
    if alpha:
        colours = Image.composite(colours, Image.new("RGB", colours.size, "white"), alpha)
    if turn is not None:  # After the photo was reduced, as this is quicker and takes less memory.
        colours = colours.transpose(turn)
    return np.array(colours, np.uint8)


def _metadata(
    image: Image.Image, tiff: bytes | None
) -> tuple[datetime | None, Image.Transpose | None]:
    """Reads when a photo was taken, and how to turn it. Damaged EXIF says neither."""
    taken, turn = None, None
    block = tags.exif_block(image) if tiff is None else tiff
    first: tags.Tags = {}
    with contextlib.suppress(Exception):
        first = tags.directory(block) if block else first
        if (offset := first.get(ExifTags.IFD.Exif)) is not None:
            taken = tags.time_taken(tags.directory(block, offset))
    with contextlib.suppress(Exception):
        turn = tags.to_upright(image, first) if tiff is None else None
    return taken, turn


def _plain(image: Image.Image) -> Image.Image:
    """Converts an image of any mode to 8-bit L, LA, RGB, RGBA or CMYK."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        # In place, as it may be large.
        values = np.array(image, np.float32)
        np.nan_to_num(values, copy=False, posinf=0.0, neginf=0.0)
        # Only these files define white. In others it is the least usual value that no pixel
        # exceeds.
        fixed = image.format == "PNG" or image.mode.startswith("I;16")
        usual = (65535.0,) if fixed else (1.0, 255.0, 65535.0, 2.0**32)
        white = next((white for white in usual if values.max() <= white), values.max())
        values *= 255 / white
        return Image.fromarray(
            np.clip(values, 0, 255, out=values).round(out=values).astype(np.uint8)
        )
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        return image.convert("LA" if grey else "RGBA")
    if image.mode == "CMYK":
        return image
    return image.convert("L" if grey else "RGB")


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Converts L, RGB or CMYK to sRGB. Without a usable profile, it is taken for sRGB."""
    with contextlib.suppress(ImageCms.PyCMSError, OSError, TypeError, ValueError, KeyError):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))
        mode = _ICC_MODES[source.profile.xcolor_space.strip()]
        if mode == "RGB" and image.mode == "L":  # A program made it grey and kept the profile.
            image = image.convert("RGB")
        if mode == image.mode:
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
            image = converted or image
    return image.convert("RGB")
