"""Lists and reads files in folders and zips, of this machine or on gs://.

The files are untrusted. Zips are read in place: nothing is extracted, executed or unpickled.
"""

import contextlib
import dataclasses
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from cifsel.data.photos.decoding import MAX_FILE_BYTES
from cifsel.errors import UserError, one_line, printable
from cifsel.runtime import remote, zips
from cifsel.runtime.paths import exists, is_file, is_folder
from cifsel.runtime.remote import AnyPath

# Photos hardly compress any further, but small drawings may.
MAX_ZIP_RATIO, ANY_RATIO_BYTES = 200, 1_000_000
MAX_DEPTH = 40
_PIECE_BYTES = 2**20
LAYOUT = (
    "expected a sub-folder or zip for each of two or more classes, as in happy/IMG_1.jpg and "
    "sad/IMG_2.jpg, or several of either, as in happy12.zip,sad12.zip"
)
# Small copies, bins and notes that systems, network storage and photo programs leave behind.
_LITTER = {
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "icon\r",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "@eadir",
    "@recycle",
    "@recently-snapshot",
    "@tmp",
    "#recycle",
    "#snapshot",
    "picasa.ini",
    "zbthumbnail.info",
    "thumbnails-digikam.db",
}
# Catalogues and previews of Lightroom, notes about a photo beside it, the thumbnail of a video.
_LITTER_SUFFIXES = (".lrdata", ".lrcat", ".lrcat-data", ".xmp", ".aae", ".thm")


@dataclasses.dataclass(frozen=True)
class File:
    """A file on disk, or a member of a zip.

    Attributes:
      name: for people, printable.
      path: of the file, or of the zip.
      archive: the open zip that it is a member of.
      member: its entry in the zip.
      problem: why it is not to be read. Empty if it can be read.
    """

    name: str
    path: AnyPath
    archive: zipfile.ZipFile | None = None
    member: zipfile.ZipInfo | None = None
    problem: str = ""


def listing(path: AnyPath, prefix: str, stack: contextlib.ExitStack) -> Iterator[File]:
    """Yields the files in a folder, in sorted order, or in a zip, in its order.

    Hidden files, and those that systems and programs leave behind, are passed over.

    Args:
      path: a folder, which is searched to any depth, or a zip. Zips in a folder are plain files.
      prefix: of the names.
      stack: closes the zip.

    Raises:
      UserError: `path` is neither of them, a folder cannot be listed or is too deep, or a zip is
        damaged or has a member whose path leads out of it.
    """
    if prefix.count("/") > MAX_DEPTH:
        raise UserError(f"{path}: more than {MAX_DEPTH} folders deep; {LAYOUT}")
    if is_zip(path):
        try:
            archive = stack.enter_context(zips.opened(stack.enter_context(path.open("rb"))))
        except Exception as error:  # Damaged zips raise many kinds of exceptions.
            raise UserError(
                f"{path}: not a zip, or a damaged one ({one_line(error)}): fetch it again"
            ) from error
        yield from _members(archive, path, prefix)
    elif is_folder(path):
        for child, below in _children(path, follow_links=not prefix):
            if is_litter(child.name):
                continue
            if below:
                yield from listing(child, f"{prefix}{printable(child.name)}/", stack)
            else:
                yield File(f"{prefix}{printable(child.name)}", child)
    else:
        problem = "not a folder or .zip file" if exists(path) else "no such folder or zip"
        raise UserError(f"{path}: {problem}; {LAYOUT}")


def _children(folder: AnyPath, *, follow_links: bool) -> list[tuple[AnyPath, bool]]:
    """Returns the paths in a folder, sorted, and whether each is to be searched like a folder."""
    try:
        if remote.is_remote(folder):
            return [(folder / name, below) for name, below in remote.children(folder)]
        # The folder of a class may be a link. Further down, a link may lead back up.
        return [
            (child, is_folder(child) and (follow_links or not child.is_symlink()))
            for child in sorted(folder.iterdir())
        ]
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise UserError(f"{folder}: cannot be listed ({reason})") from error


def _members(archive: zipfile.ZipFile, path: AnyPath, prefix: str) -> Iterator[File]:
    """Yields the files in an open zip, with a problem for each that is not to be read."""
    seen: set[str] = set()
    room = epath.Path(path).stat().length
    for info in archive.infolist():
        room -= info.compress_size
        if room < 0:
            raise UserError(
                f"{path}: holds files that take more room than it has; expected each to be in it"
                " once: do not trust this file"
            )
        given = info.filename.replace("\\", "/")
        if given.strip("./") == "" and ".." not in given:  # the folder that was packed
            if info.file_size:
                yield File(f"{prefix}(no name)", path, archive, info, "a file without a name")
            continue
        parts = given.removeprefix("./").split("/")
        if parts[0] == "" or ".." in parts or re.match("[A-Za-z]:", parts[0]):
            raise UserError(
                f"{path}: holds {info.filename}, which leads out of the zip; expected paths "
                "within: do not trust this file"
            )
        if parts[-1] == "" or any(map(is_litter, parts)):
            continue
        problem, kind = "", stat.S_IFMT(info.external_attr >> 16)
        ratio = info.file_size / max(info.compress_size, 1)
        if (name := prefix + printable("/".join(parts))) in seen:
            problem = "the zip holds two files of this name"
        elif kind not in (0, stat.S_IFREG):
            problem = "a link or device, not a file"
        elif info.flag_bits & 1:
            problem = "encrypted: unpack the zip with its password and give the folder"
        elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            problem = "compressed in an uncommon way: unpack the zip and give the folder"
        elif info.file_size > MAX_FILE_BYTES:
            problem = _too_large(info.file_size)
        elif info.file_size > ANY_RATIO_BYTES and ratio > MAX_ZIP_RATIO:
            problem = f"expands {ratio:.0f}-fold, as no photo does"
        seen.add(name)
        yield File(name, path, archive, info, problem)


def content(file: File) -> bytes | Path:
    """Returns the bytes of a file, or the path of one that is on this machine's disk.

    Raises:
      UserError: the file has a problem, or is damaged in its zip.
    """
    if file.problem:
        raise UserError(f"{file.name}: {file.problem}")
    if file.archive is None or file.member is None:
        return _fetched(file) if remote.is_remote(file.path) else Path(file.path)
    try:
        with file.archive.open(file.member) as stream:
            # In pieces, zipfile gives no more bytes than the zip states.
            data = b"".join(iter(lambda: stream.read(_PIECE_BYTES), b""))
    except Exception as error:  # Damage raises many kinds of exceptions.
        raise UserError(f"{file.name}: damaged in the zip ({one_line(error)})") from error
    if len(data) != file.member.file_size:
        raise UserError(f"{file.name}: damaged in the zip (not of the size that it says)")
    return data


def _fetched(file: File) -> bytes:
    """Reads a file on gs://."""
    path = epath.Path(file.path)
    try:
        size = path.stat().length
        if size <= MAX_FILE_BYTES:
            return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{file.name}: no such file") from None
    except Exception as error:  # gcsfs has exceptions of its own.
        raise UserError(f"{file.name}: cannot be read ({one_line(error)})") from error
    raise UserError(f"{file.name}: {_too_large(size)}")


def _too_large(size: int) -> str:
    return f"{size / 1e6:.0f} MB; expected {MAX_FILE_BYTES / 1e6:.0f} at most"


def is_zip(path: AnyPath) -> bool:
    """True for a file with the suffix .zip, which `listing` takes for a zip."""
    return path.suffix.lower() == ".zip" and is_file(path)


def is_litter(name: str) -> bool:
    """True for the name of a hidden file or folder, or one that systems or programs leave."""
    folded = name.casefold()
    return name.startswith(".") or folded in _LITTER or folded.endswith(_LITTER_SUFFIXES)
