"""Photos arrive from the camera, as files and in zips. Copies and bursts are marked."""

import base64
import dataclasses
import zipfile
from datetime import datetime, timedelta

import pytest

from cifsel.errors import UserError
from cifsel.web import collecting, training
from cifsel.web import looks as looks_module
from cifsel.web.collecting import Collector, Upload, frame
from cifsel.web.looks import bursts


@pytest.fixture
def collector(looks):
    return Collector(looks)


@pytest.fixture
def sent(tmp_path):
    """Uploads a file: (name, content) -> Upload."""

    def send(name, content):
        path = tmp_path / f"sent-{len(list(tmp_path.iterdir()))}"
        path.write_bytes(content)
        return Upload(path, name)

    return send


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path.read_bytes()


def test_a_frame_is_a_jpeg(jpegs):
    given = "data:image/jpeg;base64," + base64.b64encode(jpegs["sad"][0]).decode()
    assert frame(given) == jpegs["sad"][0]
    for bad in (None, 1, "", "data:image/svg+xml;base64,PHN2Zz4=", given[:-1] + "!"):
        with pytest.raises(UserError, match="camera sent"):
            frame(bad)
    with pytest.raises(UserError, match="too large"):
        frame(given + "A" * collecting.MOST_FRAME_BYTES)


def test_the_camera_takes_photos(collector, project, jpegs, monkeypatch):
    assert collector.take(project, "sad", jpegs["sad"][0]) == ""
    assert [path.name.startswith("camera-") for path in project.photos_of("sad")] == [True]
    with pytest.raises(UserError, match="the picture: not a JPEG"):
        collector.take(project, "sad", b"no picture")
    with pytest.raises(UserError, match="class is gone"):
        collector.take(project, "other", jpegs["sad"][0])
    assert len(project.all_photos()) == 1


def test_a_copy_counts_as_one_with_its_original(collector, project, jpegs, looks, monkeypatch):
    monkeypatch.setattr(looks_module, "BURST_SECONDS", -1)
    collector.take(project, "sad", jpegs["sad"][0])
    assert "much like another one" in collector.take(project, "happy", jpegs["sad"][0])
    assert len(set(looks.groups(project).values())) == 1


def named(folder, times, kind="camera"):
    start = datetime(2026, 11, 30, 12)
    stamps = [start + timedelta(seconds=seconds) for seconds in times]
    return [folder / "photos" / "sad" / f"{kind}-{t:%Y%m%d-%H%M%S-%f}.jpg" for t in stamps]


def test_photos_of_the_camera_within_a_second_are_a_burst(tmp_path):
    photos = named(tmp_path, [0, 0.9, 1.8, 3, 10])
    assert len(set(bursts(photos).values())) == 3
    assert len({bursts(photos)[photo.name] for photo in photos[:3]}) == 1
    assert bursts(named(tmp_path, [0, 0.5], kind="upload")) == {}


def test_the_command_is_told_of_bursts(tmp_path):
    first, second = named(tmp_path, [0, 0.5])
    lines = training.bursts_csv([first, second]).decode().splitlines()
    assert lines[0] == "photo,person"
    assert lines[1:] == [f"sad/{path.name},burst 0" for path in (first, second)]


def test_files_are_added_to_a_class_and_deleted_where_they_lay(collector, project, jpegs, sent):
    uploads = [sent(f"{n}.jpeg", content) for n, content in enumerate(jpegs["sad"][:3])]
    assert collector.add(project, uploads, "sad") == "3 photos added."
    assert len(project.photos_of("sad")) == 3
    assert not any(upload.path.exists() for upload in uploads)


def test_what_is_no_photo_is_named_and_the_rest_is_added(collector, project, jpegs, sent):
    uploads = [sent("<b>.jpg", b"no photo"), sent("good.jpg", jpegs["sad"][0])]
    said = collector.add(project, uploads, "sad")
    assert said.startswith("1 photo added. Not added: <b>.jpg: not a JPEG")
    assert not any(upload.path.exists() for upload in uploads)


def test_a_folder_names_the_classes_of_its_files(collector, project, jpegs, sent):
    uploads = [
        sent("selfies/Happy/1.jpg", jpegs["happy"][0]),
        sent("selfies/cross/1.jpg", jpegs["sad"][0]),
        sent("selfies/cross/.DS_Store", b"litter"),
        sent("selfies/../1.jpg", jpegs["sad"][1]),
        sent("1.jpg", jpegs["sad"][2]),
    ]
    said = collector.add(project, uploads)
    assert said.startswith("2 photos added. Not added: the name '..' is one of hidden files")
    assert "1.jpg is in no folder" in said
    assert [len(project.photos_of(name)) for name in ("happy", "cross")] == [1, 1]
    assert not any(upload.path.exists() for upload in uploads)


def test_a_zip_of_a_class_and_a_zip_of_classes(collector, project, jpegs, sent, tmp_path):
    of_class = zipped(tmp_path / "a.zip", {"x/1.jpg": jpegs["sad"][0], "2.jpg": jpegs["sad"][1]})
    assert collector.add(project, [sent("sad.zip", of_class)], "sad") == "2 photos added."
    members = {f"all/{name}/{n}.jpg": jpegs[name][n + 2] for name in jpegs for n in range(2)}
    of_classes = zipped(tmp_path / "b.zip", members)
    assert collector.add(project, [sent("all.zip", of_classes)]) == "4 photos added."
    assert [len(project.photos_of(name)) for name in ("happy", "sad")] == [2, 4]


def test_a_zip_cannot_leave_its_folder(collector, project, jpegs, sent, tmp_path):
    hostile = zipped(tmp_path / "c.zip", {"../../x.jpg": jpegs["sad"][0]})
    upload = sent("c.zip", hostile)
    said = collector.add(project, [upload], "sad")
    assert "leads out of the zip" in said
    assert str(tmp_path) not in said
    assert list(tmp_path.glob("sent-*")) == []


def test_a_zip_bomb_is_refused(collector, project, sent, tmp_path):
    with zipfile.ZipFile(tmp_path / "d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("sad/bomb.jpg", bytes(20_000_000))
        archive.writestr("happy/bomb.jpg", b"x")
    said = collector.add(project, [sent("d.zip", (tmp_path / "d.zip").read_bytes())])
    assert "expands" in said
    assert project.all_photos() == []


def test_a_damaged_zip_is_refused(collector, project, sent):
    said = collector.add(project, [sent("e.zip", b"PK no zip")], "sad")
    assert said.startswith("Not added: e.zip: not a zip, or a damaged one")


def test_uploads_of_one_moment_count_as_one(project, jpegs, looks):
    for content in jpegs["sad"][:2]:
        path = project.keep("sad", content, suffix="jpg", camera=False)
        look = looks.check(content, "x")
        looks.add(path, dataclasses.replace(look, taken=datetime(2026, 11, 30, 12)))
    assert len(set(looks.groups(project).values())) == 1


def test_a_photo_that_was_damaged_later_is_left_out(collector, project, jpegs):
    collector.take(project, "sad", jpegs["sad"][0])
    project.photos_of("sad")[0].write_bytes(b"damaged")
    assert looks_module.Looks().groups(project) == {}
