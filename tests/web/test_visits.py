"""Requests of visitors, as browsers send them, and the responses. Visitors are untrusted."""

import base64
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from cifsel.errors import UserError
from cifsel.prediction.prediction import HeldOut, Prediction
from cifsel.web import projects, render
from cifsel.web.answering import Answer
from cifsel.web.projects import Projects
from cifsel.web.starting import Parts
from cifsel.web.training import Start, Trainer
from cifsel.web.visits import Visits

HOSTILE = "<img src=x onerror=alert(1)>"
ELEMENTS = {"p", "div", "section", "header", "input", "button", "label", "span", "b", "figure",
            "img", "figcaption", "ul", "li", "i", "details", "summary", "a", "iframe"}  # fmt: skip


class Tags(HTMLParser):
    """Elements of a text, and their attributes."""

    def __init__(self, text):
        super().__init__()
        self.seen = []
        self.feed(str(text))

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


def check(text):
    """No element or attribute of a visitor has come into the page."""
    for tag, attributes in Tags(text).seen:
        assert tag in ELEMENTS
        assert not any(name.startswith("on") for name in attributes)
        if tag == "img":
            assert attributes["src"].startswith(("photo/", "data:image/jpeg;base64,"))


@pytest.fixture
def visits(tmp_path, looks):
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    trainer = Trainer(Start("imagenet", "ImageNet weights"), looks)
    parts = Parts(looks, SimpleNamespace(), Projects(tmp_path / "work"), trainer)
    return Visits(uploads, parts)


def picture(jpegs, number=0):
    return "data:image/jpeg;base64," + base64.b64encode(jpegs["sad"][number]).decode()


def test_a_class_of_a_hostile_name_is_shown_as_text(visits, jpegs):
    name = projects.new_id()
    for hostile in (HOSTILE, '"><script>alert(1)<', "${alert(1)}", "`+alert(1)+`", "{{x}}"):
        board = visits.collect(name, "more", {})
        new = next(c for c in visits.project(name).class_names() if c.startswith("class"))
        board = visits.collect(name, "rename", {"class": new, "name": hostile})
        shown = {attributes.get("data-class") for _, attributes in Tags(board).seen}
        assert (hostile in shown) != ("/" in hostile)
        check(board)
    board = visits.collect(name, "shot", {"class": HOSTILE, "image": picture(jpegs)})
    assert "1 photo" in board
    check(board)
    check(visits.training(name))
    assert HOSTILE not in visits.train(name, "none")


@pytest.mark.parametrize(
    ("do", "data"),
    [
        ("shot", None),
        ("shot", []),
        ("shot", {"class": ["sad"], "image": 1}),
        ("shot", {"class": "../../x", "image": "data:image/jpeg;base64,AAAA"}),
        ("files", {"class": "sad", "files": None}),
        ("files", {"class": "sad", "files": [{"path": "/etc/passwd", "name": "x.jpg"}]}),
        ("files", {"class": "sad", "files": [{"path": 1}]}),
        ("erase", {"photo": "../../x"}),
        ("rename", {"class": "sad", "name": "../x"}),
        ("rename", {"class": HOSTILE, "name": "x"}),
        ("drop", {"class": ".."}),
    ],
)
def test_what_browsers_send_is_checked(visits, do, data):
    board = visits.collect(projects.new_id(), do, data)
    assert 'class="said problem"' in board
    assert "0 photos" in board
    check(board)


def test_no_file_but_an_upload_is_read(visits, tmp_path, jpegs):
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(jpegs["sad"][0])
    folder = visits._uploads / ("0123456789abcdef" * 4)
    folder.mkdir()
    (folder / "link.jpg").symlink_to(secret)
    (folder / "good.jpg").write_bytes(jpegs["sad"][0])
    name = projects.new_id()
    for path in (
        secret,
        folder / "link.jpg",
        folder / ".." / ".." / "secret.jpg",
        folder,
        "",
        "\0",
    ):
        data = {"class": "sad", "files": [{"path": str(path), "name": "x.jpg"}]}
        assert "has not arrived" in visits.collect(name, "files", data)
        assert "has not arrived" in visits.answer_upload(name, data["files"][0], None, False)
    assert secret.exists()
    data = {"class": "sad", "files": [{"path": str(folder / "good.jpg"), "name": "x.jpg"}]}
    assert "1 photo added." in visits.collect(name, "files", data)
    assert not (folder / "good.jpg").exists()


def test_the_photo_of_a_question_is_deleted(visits, jpegs):
    folder = visits._uploads / ("ab" * 32)
    folder.mkdir()
    (folder / "x.jpg").write_bytes(jpegs["sad"][0])
    data = {"path": str(folder / "x.jpg"), "name": "x.jpg"}
    assert "There is no classifier yet" in visits.answer_upload(
        projects.new_id(), data, None, False
    )
    assert not (folder / "x.jpg").exists()


def test_without_a_classifier_all_tabs_say_what_to_do(visits, jpegs):
    name = projects.new_id()
    for said in (
        visits.ready(name),
        visits.answer_frame(name, {"image": picture(jpegs)}, None, False),
        visits.export(name, "onnx"),
    ):
        assert "collect photos and train one first" in said
    assert visits.report(name) == ""
    assert "the least: happy has 0, sad has 0" in visits.training(name)
    assert not visits.is_training(name)


def test_a_page_that_only_classifies_keeps_nothing(tmp_path, looks):
    visits = Visits(tmp_path, Parts(looks, SimpleNamespace(), checkpoint="/tmp/task1"))
    with pytest.raises(UserError, match="only classifies"):
        visits.collect(projects.new_id(), "show", {})
    assert visits.model("").folder == "/tmp/task1"
    assert visits.exports("model", "0") == tmp_path / "exports"
    with pytest.raises(UserError, match="only classifies"):
        visits.exports("x", "1")


def test_the_last_project_of_a_browser_is_offered(visits, jpegs):
    name = projects.new_id()
    assert visits.offer(name) == visits.offer(HOSTILE) == visits.offer("") == ""
    visits.collect(name, "shot", {"class": "sad", "image": picture(jpegs)})
    assert f'href="?project={name}"' in visits.offer(name)
    assert "deleted" in visits.forget(name)
    assert visits.offer(name) == ""


def answer(**changes):
    fields = {
        "image": "image 0",
        "label": HOSTILE,
        "probability": 0.996,
        "probabilities": {HOSTILE: 0.996, "sad": 0.004},
        "unsure": False,
        "seen_in_training": False,
        "held_out": None,
    }
    return Prediction(**fields | changes)


def test_an_answer_is_shown(visits):
    shown = render.answer(Answer(answer(), np.zeros((8, 8, 3), np.uint8)), "Your classifier.")
    check(shown)
    assert "99 %" in shown
    assert "1 %" in shown
    assert "what speaks for" in shown
    unsure = answer(
        unsure=True,
        held_out=HeldOut(HOSTILE, 0.7),
        seen_as="same",
        classes=(HOSTILE, "sad"),
        unlike=True,
    )
    shown = render.answer(Answer(unsure, None, "coverage is 0.99"), "")
    check(shown)
    for words in (
        '<p class="label">unsure</p>',
        "learned from this very photo",
        "Set of classes: &lt;img",
        "coverage is 0.99",
        "unlike those of training",
    ):
        assert words in shown


def test_a_report_is_shown_in_a_sandbox(visits, tmp_path):
    project = visits.project(projects.new_id())
    shown = render.report(project, tmp_path / "1", f"23 of 24 right. {HOSTILE}", [HOSTILE])
    check(shown)
    (frame,) = [attributes for tag, attributes in Tags(shown).seen if tag == "iframe"]
    assert frame["src"] == f"report/{project.name}/1"
    assert frame["sandbox"] is None  # Without any permission.
    assert '<p class="verdict">23 of 24 right.</p>' in shown
