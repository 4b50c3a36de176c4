"""Trainings run one after the other, as commands in processes of their own."""

import threading
import time
from types import SimpleNamespace
from typing import ClassVar

import pytest

from cifsel import workdir
from cifsel.data.photos.crops import CROPS
from cifsel.errors import UserError
from cifsel.selfie.report import cautions
from cifsel.web import crop_choice, projects, render, training
from cifsel.web import looks as looks_module
from cifsel.web.exporting import export
from cifsel.web.jobs import Command
from cifsel.web.training import Start, Trainer

START = Start("imagenet", "ImageNet weights")


class Fake:
    """Stands in for `Command`. It says what it was told, and waits until it may end."""

    made: ClassVar[list["Fake"]] = []
    lines = ("4 photos", "features ━━ 4/4", "drawing the report")
    fails = ""

    def __init__(self, words, heard):
        self.words, self.heard, self.error, self.stopped = words, heard, self.fails, False
        self.may_end = threading.Event()
        Fake.made.append(self)

    def run(self):
        for line in self.lines:
            self.heard(line)
        self.may_end.wait(10)
        return not (self.error or self.stopped)

    def stop(self):
        self.stopped = True
        self.may_end.set()


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(training, "Command", Fake)
    monkeypatch.setattr(Fake, "made", [])
    # Photos of the test come at once.
    monkeypatch.setattr(looks_module, "BURST_SECONDS", -1)
    return Fake


@pytest.fixture
def full(all_projects, jpegs):
    """Makes projects with four photos of each class."""

    def make():
        project = all_projects.get(projects.new_id())
        for name, contents in jpegs.items():
            for content in contents[:4]:
                project.keep(name, content, suffix="jpg", camera=True)
        return project

    return make


def wait_for(condition):
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def finish(fake, number=0):
    wait_for(lambda: len(fake.made) > number)
    fake.made[number].may_end.set()


def test_the_command_of_task_2_is_run(fake, full, looks):
    project, trainer = full(), Trainer(START, looks, ["--config.repeats=1"])
    current = trainer.begin(project)
    assert trainer.begin(project) is current
    finish(fake)
    wait_for(lambda: not current.is_open)
    assert current.state == "done"
    assert fake.made[0].words == (
        "cifsel.main",
        "--config=selfie.py",
        f"--config.photos={project.photos}",
        "--config.init_from=imagenet",
        f"--config.people_csv={project.folder}/bursts.csv",
        "--config.burst_seconds=60",
        "--config.crop=none",
        "--config.repeats=1",
        f"--workdir={project.folder}/runs/1",
    )
    assert current.said == "drawing the report"
    assert (project.folder / "bursts.csv").read_text().count("burst") == 8


def test_others_wait_and_too_many_are_refused(fake, full, looks, monkeypatch):
    monkeypatch.setattr(training, "MOST_WAITING", 1)
    first, second, third = full(), full(), full()
    trainer = Trainer(START, looks)
    running = trainer.begin(first)
    wait_for(lambda: running.state == "running")
    waiting = trainer.begin(second)
    assert (waiting.state, trainer.before(waiting)) == ("waiting", 1)
    shown = render.training(second, trainer, waiting, lack="", note="", is_new=True)
    assert "Waiting for 1 training of others" in shown
    with pytest.raises(UserError, match="1 trainings wait already"):
        trainer.begin(third)
    finish(fake)
    wait_for(lambda: waiting.state == "running")
    finish(fake, 1)
    wait_for(lambda: waiting.state == "done")


def test_a_training_is_stopped(fake, full, looks):
    first, second = full(), full()
    trainer = Trainer(START, looks)
    running, waiting = trainer.begin(first), trainer.begin(second)
    wait_for(lambda: running.command is not None)
    trainer.close()
    wait_for(lambda: fake.made[0].stopped)
    assert [running.state, waiting.state] == ["stopped", "stopped"]
    assert len(fake.made) == 1
    again = trainer.begin(first)
    finish(fake, 1)
    wait_for(lambda: again.state == "done")


def test_a_failure_is_said_without_the_folder(fake, full, looks, monkeypatch):
    project, trainer = full(), Trainer(START, looks)
    monkeypatch.setattr(Fake, "fails", f"{project.folder}/photos: 2 of 8 files cannot be read")
    current = trainer.begin(project)
    finish(fake)
    wait_for(lambda: not current.is_open)
    assert (current.state, current.error) == ("failed", "photos: 2 of 8 files cannot be read")


def test_photos_that_are_alike_count_once(looks, project, jpegs):
    trainer = Trainer(START, looks)
    for content in jpegs["sad"][:4]:
        project.keep("sad", content, suffix="jpg", camera=True)
    with pytest.raises(UserError, match=r"happy has 0, sad has 1 \(4 photos, some alike\)"):
        trainer.begin(project)


def test_a_network_of_drawn_images_is_made_first(fake, full, looks):
    start = Start("/made", "drawn images", ("--config.image_size=64",), ("cifsel.main", "--x"))
    current = Trainer(start, looks).begin(full())
    finish(fake)
    finish(fake, 1)
    wait_for(lambda: not current.is_open)
    assert fake.made[0].words == ("cifsel.main", "--x")
    assert "--config.image_size=64" in fake.made[1].words
    assert "--config.init_from=/made" in fake.made[1].words


def test_the_time_left_follows_the_lines_of_an_earlier_run(fake, full, looks):
    project, trainer = full(), Trainer(START, looks)
    trainer._usual, trainer._usual_photos = [(10.0, "a"), (60.0, "b"), (100.0, "")], 8
    current = training.Training(project, 8, state="running", began=time.monotonic() - 20)
    current.lines = [(20.0, "a")]
    share, left = trainer.progress(current)
    assert left == pytest.approx(90, abs=1)
    assert share == pytest.approx(20 / 110, abs=0.02)
    # A step that takes longer keeps the time of those that follow.
    current.began -= 300
    assert trainer.progress(current)[1] == pytest.approx(40, abs=1)
    current.lines = [(320.0, "b")]
    assert trainer.progress(current)[1] == pytest.approx(40, abs=1)
    # An unknown line changes nothing.
    current.lines.append((321.0, "other"))
    assert trainer.progress(current)[1] == pytest.approx(40, abs=2)


@pytest.mark.process
def test_a_command_is_heard_line_by_line():
    lines = []
    command = Command(("calendar", "2026", "11"), lines.append)
    assert command.run()
    assert lines[0] == "November 2026"
    failing = Command(("calendar", "--no-such-flag"), lines.append)
    assert not failing.run()
    assert "unrecognized arguments" in failing.error


@pytest.mark.process
def test_a_command_is_stopped():
    command = Command(("timeit", "-n1", "-r1", "import time; time.sleep(60)"), print)
    done = threading.Thread(target=command.run)
    began = time.monotonic()
    done.start()
    wait_for(lambda: command._process is not None)
    command.stop()
    done.join(20)
    assert time.monotonic() - began < 20
    never = Command(("calendar",), print)
    never.stop()
    assert not never.run()


def test_an_export_is_one_of_the_formats(tmp_path):
    with pytest.raises(UserError, match="expected one of onnx, keras"):
        export("/tmp/run", "../onnx", tmp_path)


def test_only_finished_runs_count(full):
    project = full()
    run = project.new_run()
    run.mkdir(parents=True)
    assert project.runs() == []
    (run / workdir.METRICS).write_text("{}")
    assert project.runs() == [run]


def test_the_part_that_the_network_sees_is_chosen_for_each_training(fake, full, looks, monkeypatch):
    monkeypatch.setattr(crop_choice, "offered", lambda: ["none", "expression"])
    project, trainer = full(), Trainer(START, looks)
    with pytest.raises(UserError, match="not installed"):
        trainer.begin(project, "face")
    problem = "no face found in 1 of 8 photos (sad/2.jpg): leave them out, or give --config.x=True"
    monkeypatch.setattr(Fake, "fails", problem.replace("x=", "crop_fallback="))
    current = trainer.begin(project, "expression")
    finish(fake)
    wait_for(lambda: not current.is_open)
    assert "--config.crop=expression" in fake.made[0].words
    # Nobody can give a flag on a page.
    assert current.error == "no face found in 1 of 8 photos (sad/2.jpg): leave them out"


def test_notes_of_the_report_are_in_the_words_of_the_page():
    note = "crop=face did better on these photos by 8 points: to use it, --config.crop=face"
    assert crop_choice.for_page(note) == (
        "To see the face alone did better on these photos by 8 points: choose it above, and train"
        " again"
    )
    # As the report says it, and not only as this test does.
    outcome = SimpleNamespace(
        candidates=[SimpleNamespace(name=crop, crop=crop) for crop in ("none", "expression")],
        chosen_candidate=SimpleNamespace(crop="none"),
        differences=[SimpleNamespace(against="expression", mean=-0.08, p=0.5)],
    )
    (note,) = cautions._about_crops(outcome)
    assert "--config" in note
    assert crop_choice.for_page(note).startswith("To see the lower face alone did better")
    assert "--config" not in crop_choice.for_page(note)
    assert crop_choice.for_page("Two photos are alike.") == "Two photos are alike."
    assert crop_choice.offered()[0] == "none"
    assert set(crop_choice.offered()) <= set(CROPS) == set(crop_choice.WORDS)
