"""Trains classifiers of projects by the command of task 2, one after the other."""

import collections
import csv
import dataclasses
import io
import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from etils import epath

from cifsel import workdir
from cifsel.errors import UserError, printable
from cifsel.runtime.terminal import count
from cifsel.web import crop_choice
from cifsel.web.jobs import Command
from cifsel.web.looks import UPLOAD_BURST_SECONDS, Looks, bursts
from cifsel.web.projects import Project

LEAST_PHOTOS = 4  # of each class, as task 2 needs them
ADVISED_PHOTOS = 12  # of each class
MOST_WAITING = 5
# A guess of the seconds until the lines of a run of 24 photos come, by their letters. It is for the
# first training, which also compiles. Each training that ends takes its place.
_USUAL = (
    (8.0, "x cpu cpu"),
    (15.0, "crossvalidating repetitions"),
    (40.0, "dealing out the labels anew times"),
    (45.0, "learning from fewer photos"),
    (50.0, "drawing the report"),
    (70.0, ""),
)
_USUAL_PHOTOS = 24


@dataclasses.dataclass(frozen=True)
class Start:
    """The network that training starts from.

    Attributes:
      init_from: as a config of task 2 has it.
      words: that describe it.
      flags: more of the config.
      before: a command that makes the network, which is run once. Empty if it is there.
    """

    init_from: str
    words: str
    flags: tuple[str, ...] = ()
    before: tuple[str, ...] = ()


@dataclasses.dataclass
class Training:
    """A training that was asked for.

    Attributes:
      project: of the photos.
      photos: how many there are.
      crop: the part of the photos that the network sees.
      state: 'waiting', 'running', 'done', 'failed' or 'stopped'.
      said: the last line of the command.
      error: why it failed.
      lines: seconds and letters of the lines of the command.
      began: when the command did, in seconds.
    """

    project: Project
    photos: int
    crop: str = crop_choice.NONE
    state: str = "waiting"
    said: str = ""
    error: str = ""
    lines: list[tuple[float, str]] = dataclasses.field(default_factory=list)
    began: float = 0.0
    command: Command | None = None

    @property
    def is_open(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ("waiting", "running")


class Trainer:
    """Trains for one project at a time.

    Args:
      start: where training starts.
      looks: of photos.
      options: more flags of the command.
    """

    def __init__(self, start: Start, looks: Looks, options: Sequence[str] = ()) -> None:
        self.start, self._looks, self._options = start, looks, tuple(options)
        self._usual, self._usual_photos = list(_USUAL), _USUAL_PHOTOS
        self._trainings: dict[str, Training] = {}
        self._waiting: collections.deque[Training] = collections.deque()
        self._changed = threading.Condition()
        threading.Thread(target=self._work, daemon=True).start()

    def begin(self, project: Project, crop: str = crop_choice.NONE) -> Training:
        """Asks for a training.

        Raises:
          UserError: there are too few photos, no such crop, or too many others wait.
        """
        if crop not in crop_choice.offered():
            raise UserError("what finds this part of a photo is not installed")
        if lack := self.lack(project):
            raise UserError(lack)
        photos = len(project.all_photos())
        with self._changed:
            current = self._trainings.get(project.name)
            if current and current.is_open:
                return current
            if len(self._waiting) >= MOST_WAITING:
                raise UserError(f"{MOST_WAITING} trainings wait already: try again in some minutes")
            training = Training(project, photos, crop)
            self._trainings[project.name] = training
            self._waiting.append(training)
            self._changed.notify()
            return training

    def lack(self, project: Project) -> str:
        """Says which photos a training lacks. '' for none."""
        groups, few = self._looks.groups(project), []
        for name in project.class_names():
            photos = project.photos_of(name)
            different = len({groups[photo.name] for photo in photos if photo.name in groups})
            if different < LEAST_PHOTOS:
                alike = f" ({count(len(photos), 'photo')}, some alike)" if photos else ""
                few.append(f"{printable(name)} has {different}{alike}")
        if not few:
            return ""
        return f"{LEAST_PHOTOS} different photos of each class are the least: {', '.join(few)}"

    def of(self, project: Project) -> Training | None:
        """The last training of a project. None if there was none since the page was started."""
        return self._trainings.get(project.name)

    def before(self, training: Training) -> int:
        """How many trainings come before one that waits."""
        with self._changed:
            running = any(each.state == "running" for each in self._trainings.values())
            place = self._waiting.index(training) if training in self._waiting else 0
            return place + running

    def stop(self, project: Project) -> None:
        """Stops the training of a project."""
        with self._changed:
            training = self._trainings.get(project.name)
            if training is None or not training.is_open:
                return
            if training in self._waiting:
                self._waiting.remove(training)
            training.state, command = "stopped", training.command
        if command:
            command.stop()

    def close(self) -> None:
        """Stops all trainings."""
        for training in list(self._trainings.values()):
            self.stop(training.project)

    def progress(self, training: Training) -> tuple[float, float]:
        """The share of a running training that is done, and the seconds that are left."""
        elapsed = time.monotonic() - training.began
        scale = max(training.photos / self._usual_photos, 0.5)
        total = scale * self._usual[-1][0]
        left = total - elapsed
        expected = {letters: scale * seconds for seconds, letters in self._usual}
        known = [(since, expected[said]) for since, said in training.lines if said in expected]
        if known:
            since, usual = known[-1]
            following = [scale * s for s, _ in self._usual if scale * s > usual] or [total]
            # Within a step, the time left does not fall below that of the next step.
            left = max(total - usual - (elapsed - since), total - following[0])
        left = max(left, 1.0)
        return elapsed / (elapsed + left), left

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                training = self._waiting.popleft()
                training.state, training.began = "running", time.monotonic()
            try:
                self._train(training)
            except UserError as error:
                self._end(training, "failed", str(error))
            except Exception as error:
                self._end(training, "failed", f"a defect of the program ({error})")

    def _train(self, training: Training) -> None:
        project = training.project
        if self.start.before and not self._run(training, self.start.before):
            return
        with project.lock:
            run, bursts_file = project.new_run(), project.folder / "bursts.csv"
            content = bursts_csv(project.all_photos())
            workdir.write_bytes(epath.Path(bursts_file), content)
        words = (
            "cifsel.main",
            "--config=selfie.py",
            f"--config.photos={project.photos}",
            f"--config.init_from={self.start.init_from}",
            f"--config.people_csv={bursts_file}",
            f"--config.burst_seconds={UPLOAD_BURST_SECONDS:g}",
            f"--config.crop={training.crop}",
            *self.start.flags,
            *self._options,
            f"--workdir={run}",
        )
        training.began = time.monotonic()
        training.lines.clear()
        if self._run(training, words):
            seconds = time.monotonic() - training.began
            self._usual = [*training.lines, (seconds, "")]
            self._usual_photos = training.photos
            self._end(training, "done")

    def _run(self, training: Training, words: Sequence[str]) -> bool:
        """Runs a command for a training. Returns whether it has done its work."""

        def heard(line: str) -> None:
            # Without bars, paths, and what is for the terminal alone.
            line = re.split(" ━|, which the next run|, workdir ", line)[0].strip()
            if line:
                letters = " ".join(re.sub(r"[^a-z ]", "", line.lower()).split())
                training.lines.append((time.monotonic() - training.began, letters))
                training.said = line.replace(f"{training.project.folder}/", "")

        with self._changed:
            if training.state == "stopped":
                return False
            training.command = command = Command(words, heard)
        done = command.run()
        if not done and not command.stopped:
            self._end(training, "failed", command.error)
        return done

    def _end(self, training: Training, state: str, error: str = "") -> None:
        with self._changed:
            if training.state == "running":
                folder = training.project.folder
                training.state = state
                error = crop_choice.for_page(error)
                training.error = error.replace(f"{folder}/", "").replace(f"{folder}", "")
            training.command = None


def bursts_csv(photos: Sequence[Path]) -> bytes:
    """The bursts of the page's camera, for `people_csv` of task 2."""
    named = bursts(photos)
    buffer = io.StringIO()
    rows = csv.writer(buffer, lineterminator="\n")
    rows.writerow(("photo", "person"))
    for photo in photos:
        if photo.name in named:
            rows.writerow((f"{photo.parent.name}/{photo.name}", named[photo.name]))
    return buffer.getvalue().encode()
