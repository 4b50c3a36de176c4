"""Projects keep what visitors collect, each in a folder of its own."""

import shutil

import pytest

from cifsel import workdir
from cifsel.data.photos import load_photos
from cifsel.errors import UserError
from cifsel.web import projects
from cifsel.web.projects import Project, Projects

HOSTILE = "<img src=x onerror=alert(1)>"


def test_a_project_begins_with_two_classes_and_without_a_folder(project):
    assert project.class_names() == ["happy", "sad"]
    assert project.all_photos() == []
    assert not project.folder.exists()


def test_photos_stay_when_all_else_is_gone(project, jpegs, all_projects):
    path = project.keep("sad", jpegs["sad"][0], suffix=".PNG", camera=False)
    again = Projects(all_projects.root).get(project.name)
    assert again is not project
    assert again.photos_of("sad") == [path]
    assert path.read_bytes() == jpegs["sad"][0]
    assert path.suffix == ".png"


def test_projects_are_apart(all_projects, jpegs):
    first, second = (all_projects.get(projects.new_id()) for _ in range(2))
    first.keep("happy", jpegs["happy"][0], suffix="jpg", camera=True)
    assert first.all_photos()
    assert not second.all_photos()
    with pytest.raises(UserError, match="gone"):
        second.photo(first.all_photos()[0].name)


def test_all_visits_of_a_project_share_its_lock(all_projects):
    name = projects.new_id()
    first, second = all_projects.get(name), all_projects.get(name)
    assert first is second


@pytest.mark.parametrize("name", ["", "..", "../x", "a" * 21, "a" * 23, "a/" * 11, "x" * 21 + "\n"])
def test_other_names_are_no_projects(all_projects, name):
    with pytest.raises(UserError, match="names no project"):
        all_projects.get(name)


def test_the_command_reads_what_was_kept(project, jpegs):
    name = project.rename_class("sad", HOSTILE)
    for class_name, of in (("happy", "happy"), (name, "sad")):
        for content in jpegs[of][:3]:
            project.keep(class_name, content, suffix="exe", camera=True)
    photos = load_photos(str(project.photos))
    assert photos.class_names == (HOSTILE, "happy")
    assert photos.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert {name.rpartition(".")[2] for name in photos.names} == {"jpg"}


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "empty"),
        (" \t", "empty"),
        ("a/b", "slash"),
        ("..\\b", "slash"),
        ("..", "hidden"),
        (".x", "hidden"),
        ("@eaDir", "systems"),
        ("happy.zip", "zips"),
        ("Train", "splits"),
        ("x" * 61, "longer"),
        ("漢" * 41, "longer"),
        ("HAPPY", "already"),
        ("d-20261129T201500Z-001", "downloads"),
    ],
)
def test_names_that_would_not_be_read_as_this_class_are_refused(project, name, problem):
    with pytest.raises(UserError, match=problem):
        project.rename_class("sad", name)
    assert project.class_names() == ["happy", "sad"]


@pytest.mark.parametrize("name", [HOSTILE, "${alert(1)}", "`", "ü", "a,b", "=1+1", "con", "😀"])
def test_other_names_are_kept_as_they_are(project, name):
    assert project.rename_class("sad", f" {name} ") == name
    assert name in project.class_names()


def test_renaming_keeps_the_photos(project, jpegs):
    project.keep("sad", jpegs["sad"][0], suffix="jpg", camera=True)
    project.rename_class("sad", "cross")
    assert len(project.photos_of("cross")) == 1
    with pytest.raises(UserError, match="class is gone"):
        project.photos_of("sad")


def test_classes_are_added_and_removed(project, jpegs):
    with pytest.raises(UserError, match="two classes are the least"):
        project.remove_class("sad")
    for _ in range(projects.MOST_CLASSES - 2):
        project.add_class()
    with pytest.raises(UserError, match="which is the most"):
        project.add_class()
    project.keep("class 3", jpegs["sad"][0], suffix="jpg", camera=True)
    project.remove_class("class 3")
    assert "class 3" not in project.class_names()
    assert project.all_photos() == []


def test_a_class_is_found_whatever_its_letters(project):
    assert project.class_for("HAPPY") == "happy"
    assert project.class_for("angry") == "angry"


def test_a_photo_is_erased(project, jpegs):
    path = project.keep("sad", jpegs["sad"][0], suffix="jpg", camera=True)
    for name in ("../x.jpg", f"../sad/{path.name}", "x.jpg", ""):
        with pytest.raises(UserError, match="photo is gone"):
            project.erase(name)
    project.erase(path.name)
    assert project.all_photos() == []


def test_a_project_has_limits(project, jpegs, monkeypatch):
    monkeypatch.setattr(projects, "MOST_PHOTOS", 1)
    project.keep("sad", jpegs["sad"][0], suffix="jpg", camera=True)
    with pytest.raises(UserError, match="1 photo of 0 MB already"):
        project.keep("sad", jpegs["sad"][1], suffix="jpg", camera=True)


def test_a_full_disk_takes_no_more(project, jpegs, monkeypatch):
    usage = shutil.disk_usage(project.folder.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000_000))
    with pytest.raises(UserError, match="disk of work is nearly full"):
        project.keep("sad", jpegs["sad"][0], suffix="jpg", camera=True)


def test_runs_are_numbered_and_unfinished_ones_go(project):
    for number in (1, 2, 10):
        (project.folder / "runs" / str(number)).mkdir(parents=True)
    (project.folder / "runs" / "2" / workdir.METRICS).write_text("{}")
    assert [run.name for run in project.runs()] == ["2"]
    assert project.new_run().name == "11"
    assert [run.name for run in (project.folder / "runs").iterdir()] == ["2"]


def test_all_is_deleted(project, jpegs):
    project.keep("sad", jpegs["sad"][0], suffix="jpg", camera=True)
    project.remove()
    assert not project.folder.exists()
    assert project.class_names() == ["happy", "sad"]
    project.remove()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="give another --workdir"):
        Projects(tmp_path / "file")


def test_a_project_is_of_its_own_folder(tmp_path):
    name = projects.new_id()
    assert Project(tmp_path, name).folder == tmp_path / name
    assert len({projects.new_id() for _ in range(100)}) == 100
