"""Projects of the page: the photos that one visitor collects, in a folder of their own.

A project has a random name, which is the visitor's key to it. Its folder has `photos/CLASS/PHOTO`,
as `configs/selfie.py` reads it, and `runs/1`, `runs/2` and so on, which are workdirs.
"""

import contextlib
import re
import secrets
import shutil
import threading
import weakref
from datetime import datetime
from pathlib import Path

from etils import epath

from cifsel import workdir
from cifsel.data.photos import files, layout
from cifsel.errors import MAKE_ROOM, UserError, one_line, printable
from cifsel.runtime.terminal import count

CLASSES = ("happy", "sad")  # that a new project has
MOST_CLASSES, MOST_PHOTOS = 20, 1_000
MOST_BYTES = 2_000_000_000  # of the photos of a project
LEAST_FREE_BYTES = 1_000_000_000  # of the disk
_NAME_LENGTH = 60
# 128 random bits. Whoever can guess them can guess any key.
_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_PHOTO = re.compile(r"(camera|upload)-(\d{8}-\d{6}-\d{6})\.[a-z]{3,4}")
_TIME = "%Y%m%d-%H%M%S-%f"
_SUFFIXES = {"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "heic", "heif", "avif"}


def new_id() -> str:
    """The name of a new project, which nobody can guess."""
    return secrets.token_urlsafe(16)


class Project:
    """The photos and runs of one visitor.

    Args:
      root: the folder of all projects.
      name: as `new_id` makes it.

    Attributes:
      name: of the project.
      folder: with its files. It is there once something was kept.
      photos: the folder with a folder for each class.
      lock: held while files change.

    Raises:
      UserError: there can be no project of this name.
    """

    def __init__(self, root: Path, name: str) -> None:
        if not _ID.fullmatch(name):
            raise UserError("the link names no project: open the page without what follows the '?'")
        self.name, self.folder = name, root / name
        self.photos = self.folder / "photos"
        self.lock = threading.RLock()

    @property
    def exists(self) -> bool:
        """Whether something was kept."""
        return self.photos.is_dir()

    def class_names(self) -> list[str]:
        """The names of the classes, sorted."""
        if not self.exists:
            return list(CLASSES)
        return sorted(path.name for path in self.photos.iterdir() if path.is_dir())

    def photos_of(self, class_name: str) -> list[Path]:
        """The photos of a class, in the order in which they came."""
        folder = self._folder_of(class_name)
        if not folder.is_dir():
            return []
        return sorted(
            (path for path in folder.iterdir() if _PHOTO.fullmatch(path.name)),
            key=lambda path: path.name.partition("-")[2],
        )

    def all_photos(self) -> list[Path]:
        """The photos of all classes."""
        return [photo for name in self.class_names() for photo in self.photos_of(name)]

    def photo(self, name: str) -> Path:
        """The file of a photo.

        Raises:
          UserError: there is none of this name.
        """
        if _PHOTO.fullmatch(name):
            for class_name in self.class_names():
                if (path := self.photos / class_name / name).is_file():
                    return path
        raise UserError("this photo is gone: reload the page")

    def keep(self, class_name: str, content: bytes, *, suffix: str, camera: bool) -> Path:
        """Writes a photo, which has been decoded before.

        Args:
          class_name: one of `class_names`.
          content: of the file.
          suffix: of the name that it had.
          camera: it comes from the page's camera.

        Raises:
          UserError: there is no such class, or no room.
        """
        with self.lock:
            self._check_room(len(content))
            self._begin()
            folder, ending = self._folder_of(class_name), suffix.lower().removeprefix(".")
            ending = ending if ending in _SUFFIXES else "jpg"
            kind = "camera" if camera else "upload"
            names = {photo.name.partition(".")[0] for photo in self.all_photos()}
            while (stem := f"{kind}-{datetime.now():{_TIME}}") in names:
                pass
            path = folder / f"{stem}.{ending}"
            workdir.write_bytes(epath.Path(path), content)
            return path

    def erase(self, name: str) -> None:
        """Deletes a photo. Raises UserError if there is none of this name."""
        with self.lock:
            self.photo(name).unlink(missing_ok=True)

    def add_class(self) -> str:
        """Adds a class, and returns its name. Raises UserError if there are too many."""
        with self.lock:
            names = self.class_names()
            if len(names) >= MOST_CLASSES:
                raise UserError(f"there are {MOST_CLASSES} classes, which is the most")
            taken = {name.casefold() for name in names}
            numbered = (f"class {number}" for number in range(3, 3 + MOST_CLASSES))
            name = next(name for name in numbered if name not in taken)
            self._begin()
            (self.photos / name).mkdir()
            return name

    def class_for(self, name: str) -> str:
        """The class of that name, which is made if it is not there. Raises as `rename_class`."""
        with self.lock:
            named = {existing.casefold(): existing for existing in self.class_names()}
            if existing := named.get(name.casefold()):
                return existing
            return self.rename_class(self.add_class(), name)

    def rename_class(self, old: str, new: str) -> str:
        """Renames a class, and returns its name.

        Raises:
          UserError: there is no such class, or the new name cannot be one.
        """
        with self.lock:
            new = _class_name(new)
            folder = self._folder_of(old)
            others = {name.casefold() for name in self.class_names() if name != old}
            if new.casefold() in others:
                raise UserError(f"there is a class {new!r} already: give another name")
            self._begin()
            folder.rename(self.photos / new)
            return new

    def remove_class(self, name: str) -> None:
        """Deletes a class with its photos. Raises UserError if two or fewer would be left."""
        with self.lock:
            folder = self._folder_of(name)
            if len(self.class_names()) <= 2:
                raise UserError("two classes are the least: rename this one instead")
            shutil.rmtree(folder)

    def remove(self) -> None:
        """Deletes all photos and runs."""
        with self.lock, contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.folder)

    def runs(self) -> list[Path]:
        """The workdirs of the finished runs, the newest first."""
        return [run for run in self._all_runs() if (run / workdir.METRICS).is_file()]

    def new_run(self) -> Path:
        """The workdir for a new run. Deletes those of runs that were stopped."""
        with self.lock:
            numbers = [int(run.name) for run in self._all_runs()]
            for run in set(self._all_runs()) - set(self.runs()):
                shutil.rmtree(run)
            return self.folder / "runs" / str(max(numbers, default=0) + 1)

    def _all_runs(self) -> list[Path]:
        folder = self.folder / "runs"
        found = folder.iterdir() if folder.is_dir() else []
        numbered = [path for path in found if re.fullmatch(r"[1-9]\d{0,5}", path.name)]
        return sorted(numbered, key=lambda path: -int(path.name))

    def _folder_of(self, class_name: str) -> Path:
        if class_name not in self.class_names():
            raise UserError("this class is gone: reload the page")
        return self.photos / class_name

    def _begin(self) -> None:
        """Makes the folders of a new project."""
        if not self.exists:
            for name in CLASSES:
                (self.photos / name).mkdir(parents=True, exist_ok=True)

    def _check_room(self, size: int) -> None:
        photos = self.all_photos()
        held = sum(photo.stat().st_size for photo in photos)
        if len(photos) >= MOST_PHOTOS or held + size > MOST_BYTES:
            raise UserError(
                f"there are {count(len(photos), 'photo')} of {held / 1e6:.0f} MB already; expected"
                f" {MOST_PHOTOS:,} and {MOST_BYTES / 1e6:,.0f} MB at most: delete some"
            )
        root = self.folder.parent
        if shutil.disk_usage(root).free - size < LEAST_FREE_BYTES:
            raise UserError(f"the disk of {root.name} is nearly full: {MAKE_ROOM}")


def taken_by_camera(photo: Path) -> datetime | None:
    """When the page's camera took a photo. None for an uploaded one."""
    match = _PHOTO.fullmatch(photo.name)
    return datetime.strptime(match[2], _TIME) if match and match[1] == "camera" else None


def _class_name(given: str) -> str:
    """A name that a folder of photos can have, and that is read as this class again."""
    name = printable(" ".join(given.split()))
    problem = ""
    if not name:
        problem = "empty"
    elif len(name) > _NAME_LENGTH or len(name.encode()) > 2 * _NAME_LENGTH:
        problem = f"longer than {_NAME_LENGTH} letters"
    elif "/" in name or "\\" in name:
        problem = "with a slash or backslash"
    elif files.is_litter(name) or name.lower().endswith(".zip"):
        problem = "one of hidden files, systems or zips"
    elif layout.split_of(name) or layout.class_of_folder(name, ()) != name:
        problem = "one of splits or downloads"
    if problem:
        raise UserError(f"the name {name!r} is {problem}: give another name")
    return name


class Projects:
    """All projects of a folder.

    Args:
      root: the folder. It is made unless it is there.

    Raises:
      UserError: the folder cannot be written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
            workdir.try_writing(epath.Path(root))
        except OSError as error:
            reason = error.strerror or one_line(error)
            raise UserError(
                f"workdir {root} cannot be written ({reason}): give another --workdir"
            ) from None
        # All who use a project at the same time share one object, and so its lock.
        self._open: weakref.WeakValueDictionary[str, Project] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, name: str) -> Project:
        """The project of that name, which need not have a folder yet.

        Raises:
          UserError: there can be no project of this name.
        """
        with self._lock:
            project = self._open.get(name)
            if project is None:
                project = self._open[name] = Project(self.root, name)
            return project
