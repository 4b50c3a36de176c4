"""The actions of a visitor of the page. This module does not import Gradio."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cifsel.errors import UserError, printable
from cifsel.web import answering, exporting, render
from cifsel.web.collecting import Collector, Upload, frame
from cifsel.web.projects import Project
from cifsel.web.starting import Parts
from cifsel.web.training import Trainer

READY = "Turn on the camera, or upload a photo."
# In addresses, the project and run of the model of --checkpoint.
NO_PROJECT, NO_RUN = "model", "0"


@dataclasses.dataclass(frozen=True)
class Model:
    """A model that answers.

    Attributes:
      folder: the workdir of a run, or the folder of a comparison.
      project: in addresses.
      run: in addresses.
      words: which model it is.
    """

    folder: str
    project: str
    run: str
    words: str


class Visits:
    """Does what visitors ask for.

    Args:
      uploads: the folder in which uploaded files arrive. Exports of the checkpoint go there, too.
      parts: what the page is made from.
    """

    def __init__(self, uploads: Path, parts: Parts) -> None:
        self.looks, self.trainer = parts.looks, parts.trainer
        self._checkpoint, self._projects = parts.checkpoint, parts.projects
        self._uploads, self._answerer = uploads, parts.answerer
        self._collector = Collector(parts.looks)

    def project(self, name: str) -> Project:
        """A project. Raises UserError if there can be none of this name."""
        if self._projects is None:
            raise UserError("this page only classifies: it was started without --workdir")
        return self._projects.get(name or "")

    def run(self, project: str, run: str) -> Path:
        """The workdir of a finished run. Raises UserError if there is none."""
        for path in self.project(project).runs():
            if path.name == run:
                return path
        raise UserError("this run is gone: reload the page")

    def exports(self, project: str, run: str) -> Path:
        """The folder for exports of a model. Raises UserError if there is no such model."""
        if (project, run) == (NO_PROJECT, NO_RUN) and self._checkpoint:
            return self._uploads / "exports"
        return self.run(project, run) / "exports"

    def model(self, project: str) -> Model:
        """The classifier of a project, or that of the command line.

        Raises:
          UserError: there is neither.
        """
        runs = self.project(project).runs() if self._projects and project else []
        if runs:
            number = runs[0].name
            words = f"Your classifier, training {number}."
            return Model(str(runs[0]), project, number, words)
        if self._checkpoint:
            words = "The classifier that the page was started with."
            return Model(self._checkpoint, NO_PROJECT, NO_RUN, words)
        raise UserError("There is no classifier yet: collect photos and train one first.")

    def collect(self, name: str, do: str, data: Any) -> str:
        """Does what the tab Collect asks for. Returns the board.

        Args:
          name: of the project.
          do: 'shot', 'files', 'erase', 'rename', 'more', 'drop' or 'show'.
          data: of the event, as the browser sent it.
        """
        project = self.project(name)
        actions: dict[str, Callable[[], object]] = {
            "shot": lambda: self._collector.take(
                project, _text(data, "class"), frame(_text(data, "image"))
            ),
            "files": lambda: self._collector.add(
                project, self._sent(data.get("files")), _text(data, "class")
            ),
            "erase": lambda: project.erase(_text(data, "photo")),
            "rename": lambda: (
                project.rename_class(_text(data, "class"), _text(data, "name")) and ""
            ),
            "more": lambda: project.add_class() and "",
            "drop": lambda: project.remove_class(_text(data, "class")),
            "show": lambda: "",
        }
        with project.lock:
            try:
                return render.board(project, self.looks, said=str(actions[do]() or ""))
            except UserError as error:
                return render.board(project, self.looks, problem=str(error))

    def forget(self, name: str) -> str:
        """Deletes a project. Returns the empty board."""
        project = self.project(name)
        if self.trainer:
            self.trainer.stop(project)
        project.remove()
        return render.board(project, self.looks, said="All photos and classifiers were deleted.")

    def offer(self, name: str) -> str:
        """A link to the last project of a browser. '' if it is gone."""
        try:
            project = self.project(name)
        except UserError:
            return ""
        return render.again(project) if project.all_photos() else ""

    def train(self, name: str, crop: str) -> str:
        """Asks for a training. Returns why there is none, '' if there is."""
        try:
            self._own_trainer().begin(self.project(name), crop)
        except UserError as error:
            return render.problem(str(error))
        return ""

    def stop(self, name: str) -> None:
        """Stops a training."""
        self._own_trainer().stop(self.project(name))

    def is_training(self, name: str) -> bool:
        """Whether a training waits or runs."""
        current = self._own_trainer().of(self.project(name))
        return current is not None and current.is_open

    def training(self, name: str) -> str:
        """How far a training is, or what it needs."""
        project, trainer = self.project(name), self._own_trainer()
        current, runs = trainer.of(project), project.runs()
        is_open = current is not None and current.is_open
        is_new = not runs or is_open or not answering.is_of(runs[0], project.all_photos())
        note = ""
        if runs and is_new and not is_open:
            note = "The photos have changed since the training below: train again."
        lack = "" if is_open else trainer.lack(project)
        return render.training(project, trainer, current, lack=lack, note=note, is_new=is_new)

    def report(self, name: str) -> str:
        """The report of the newest run. '' for none."""
        project = self.project(name)
        for run in project.runs()[:1]:
            try:
                sentence, notes = answering.sentence_of(run)
            except UserError as error:
                return render.problem(str(error).replace(f"{project.folder}/", ""))
            return render.report(project, run, sentence, notes)
        return ""

    def ready(self, name: str) -> str:
        """Prepares the classifier, which compiles for some seconds. Returns what to do."""
        try:
            model = self.model(name)
            self._answerer.warm(model.folder)
            return render.hint(f"{model.words} {READY}")
        except UserError as error:
            return render.hint(str(error))

    def answer_frame(self, name: str, data: Any, coverage: float | None, explain: bool) -> str:
        """Answers for a picture of the camera."""
        try:
            pixels = self.looks.pixels(frame(_text(data, "image")), "the picture")
            return self._answer(name, pixels, coverage, explain)
        except UserError as error:
            return render.problem(str(error))

    def answer_upload(self, name: str, data: Any, coverage: float | None, explain: bool) -> str:
        """Answers for an uploaded photo, which is then deleted."""
        try:
            (upload,) = self._sent([data])
            try:
                pixels = self.looks.pixels(upload.path, printable(upload.name))
            finally:
                upload.path.unlink(missing_ok=True)
            return self._answer(name, pixels, coverage, explain)
        except UserError as error:
            return render.problem(str(error))

    def _answer(self, name: str, pixels: Any, coverage: float | None, explain: bool) -> str:
        model = self.model(name)
        given = self._answerer.answer(model.folder, pixels, coverage=coverage, explain=explain)
        return render.answer(given, model.words)

    def answer_as_json(self, name: str, image: str) -> dict[str, Any]:
        """Answers a program. Raises UserError if it cannot."""
        pixels = self.looks.pixels(frame(image), "the picture")
        folder = self.model(name).folder
        given = self._answerer.answer(folder, pixels, coverage=None, explain=False)
        return dataclasses.asdict(given.prediction)

    def export(self, name: str, form: str) -> str:
        """Exports the classifier. Returns its files, or why there are none."""
        try:
            model = self.model(name)
            folder = self.exports(model.project, model.run)
            file, lines = exporting.export(model.folder, form, folder)
        except UserError as error:
            return render.problem(str(error))
        usage = (folder / f"{file}.md").read_text()
        return render.exported(f"export/{model.project}/{model.run}", file, lines, usage)

    def _own_trainer(self) -> Trainer:
        if self.trainer is None:
            raise UserError("this page only classifies: it was started without --workdir")
        return self.trainer

    def _sent(self, files: Any) -> list[Upload]:
        """The files that a browser says it has sent. No other file of the machine is read.

        Raises:
          UserError: a file is none that has arrived.
        """
        sent = []
        for file in files if isinstance(files, list) else [None]:
            path = Path(_text(file, "path"))
            if not _is_below(path, self._uploads):
                raise UserError("a file has not arrived: upload it again")
            sent.append(Upload(path, _text(file, "name")))
        return sent


def _text(data: Any, field: str) -> str:
    """A field that a browser has sent. Raises UserError if it is no text."""
    value = data.get(field) if isinstance(data, dict) else None
    if not isinstance(value, str):
        raise UserError("the page sent something else than this version expects: reload it")
    return value


def _is_below(path: Path, folder: Path) -> bool:
    """Whether a path is that of an uploaded file: FOLDER/HASH/NAME, and no link."""
    try:
        parts = path.relative_to(folder).parts
        is_upload = len(parts) == 2 and bool(re.fullmatch(r"[0-9a-f]{32,128}", parts[0]))
        return (
            is_upload and parts[1] not in (".", "..") and path.is_file() and not path.is_symlink()
        )
    except (ValueError, OSError):
        return False
