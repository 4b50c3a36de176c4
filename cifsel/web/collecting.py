"""Photos arrive: from the camera, as files, in folders and in zips."""

import base64
import binascii
import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from cifsel.data.photos import files, sources
from cifsel.errors import UserError, printable
from cifsel.runtime.terminal import count
from cifsel.web.looks import Looks
from cifsel.web.projects import MOST_BYTES, MOST_PHOTOS, Project

MOST_FRAME_BYTES = 4_000_000  # of a picture that the camera took
_NAMED = 3  # problems that a message names
_FRAME = "data:image/jpeg;base64,"


@dataclasses.dataclass(frozen=True)
class Upload:
    """A file that a browser has sent.

    Attributes:
      path: where it lies until it is read.
      name: its name, with the folders in which the browser found it: 'selfies/happy/1.jpg'.
    """

    path: Path
    name: str

    @property
    def is_zip(self) -> bool:
        """Whether it is called a zip."""
        return self.name.lower().endswith(".zip")


def frame(given: object) -> bytes:
    """The JPEG that the page's camera has sent.

    Raises:
      UserError: it is no such picture.
    """
    if not isinstance(given, str) or not given.startswith(_FRAME):
        raise UserError("the camera sent no JPEG: reload the page")
    if len(given) > MOST_FRAME_BYTES:
        raise UserError("the camera sent a picture that is too large: reload the page")
    try:
        return base64.b64decode(given.removeprefix(_FRAME), validate=True)
    except binascii.Error:
        raise UserError("the camera sent a damaged picture: try again") from None


class Collector:
    """Puts photos into projects.

    Args:
      looks: of photos.
    """

    def __init__(self, looks: Looks) -> None:
        self._looks = looks

    def take(self, project: Project, class_name: str, picture: bytes) -> str:
        """Adds a picture of the camera.

        Returns:
          What is to be said of it. '' for nothing.

        Raises:
          UserError: it cannot be used, or there is no room.
        """
        look = self._looks.check(picture, "the picture")
        path = project.keep(class_name, picture, suffix="jpg", camera=True)
        self._looks.add(path, look)
        return self._alike(project, [path])

    def add(self, project: Project, uploads: list[Upload], class_name: str = "") -> str:
        """Adds uploaded files, and deletes them where they lay.

        Args:
          project: to which they are added.
          uploads: photos, and zips of photos.
          class_name: of all of them. '' for the names of the folders that they are in.

        Returns:
          How many were added, and what was wrong with others.
        """
        added: list[Path] = []
        problems: list[str] = []
        for upload in uploads:
            try:
                with contextlib.ExitStack() as stack:
                    for label, name, content in _photos(upload, class_name, stack):
                        try:
                            added.append(self._keep(project, label, name, content))
                        except UserError as error:
                            problems.append(str(error))
                            if len(problems) > MOST_PHOTOS:
                                break
            except UserError as error:
                reason = str(error).replace(f"{upload.path.with_suffix('.zip')}", f"{upload.path}")
                problems.append(reason.replace(f"{upload.path}", printable(upload.name)))
            finally:
                upload.path.unlink(missing_ok=True)
        words = [f"{count(len(added), 'photo')} added."] if added or not problems else []
        if added and (alike := self._alike(project, added)):
            words.append(alike)
        if problems:
            more = f"; and {len(problems) - _NAMED:,} more" if len(problems) > _NAMED else ""
            words.append(f"Not added: {'; '.join(problems[:_NAMED])}{more}")
        return " ".join(words)

    def _keep(
        self, project: Project, label: str, name: str, content: files.File | bytes | Path
    ) -> Path:
        if isinstance(content, files.File):
            content = files.content(content)
        if isinstance(content, Path):
            content = content.read_bytes()
        short = Path(name).name
        look = self._looks.check(content, short)
        label = project.class_for(label)
        path = project.keep(label, content, suffix=Path(name).suffix, camera=False)
        self._looks.add(path, look)
        return path

    def _alike(self, project: Project, added: list[Path]) -> str:
        """Says which of the new photos count as one with others."""
        groups = self._looks.groups(project)
        sizes: dict[int, int] = {}
        for number in groups.values():
            sizes[number] = sizes.get(number, 0) + 1
        alike = sum(sizes.get(groups.get(path.name, -1), 0) > 1 for path in added)
        if not alike:
            return ""
        if len(added) == 1:
            return "This photo is much like another one, or of the same moment: they count as one."
        return f"{alike} of them are much like others, or of the same moment: those count as one."


def _photos(
    upload: Upload, class_name: str, stack: contextlib.ExitStack
) -> Iterator[tuple[str, str, files.File | Path]]:
    """Yields class, name and content of the photos of an upload.

    Raises:
      UserError: a zip is damaged or too large, or the class is not said.
    """
    if not upload.is_zip:
        folder = Path(upload.name).parent.name
        if not (class_name or folder):
            raise UserError(f"{printable(upload.name)} is in no folder, which would name its class")
        if not files.is_litter(Path(upload.name).name):
            yield class_name or folder, upload.name, upload.path
        return
    archive = upload.path.with_suffix(".zip")
    upload.path.rename(archive)
    stack.callback(archive.unlink, missing_ok=True)
    room = MOST_BYTES
    if class_name:
        labelled = [(class_name, file) for file in files.listing(archive, "", stack)]
    else:
        found = sources.labelled_files(str(archive), stack, max_files=MOST_PHOTOS)
        labelled = [(file.label, file.file) for file in found]
    for label, file in labelled[: MOST_PHOTOS + 1]:
        room -= file.member.file_size if file.member and not file.problem else 0
        if room < 0:
            raise UserError(f"{printable(upload.name)}: more than {MOST_BYTES / 1e9:.0f} GB")
        if label:
            yield label, file.name, file
