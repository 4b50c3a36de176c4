"""The layouts in which people keep labelled images, and what is said of others."""

import contextlib
import json
import zipfile

import pytest

from cifsel.data.folders import listing
from cifsel.errors import UserError


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"an image")


def listed(source):
    with contextlib.ExitStack() as stack:
        return [(e.name, e.label, e.split) for e in listing.list_images(str(source), stack)]


def refusal(source):
    with pytest.raises(UserError) as caught:
        listed(source)
    return str(caught.value)


def test_a_folder_for_each_class(tmp_path):
    put(tmp_path, "Zwei Wörter/b/1.jpg", "ants/1.jpg", "ants/2.jpg", "ants/.hidden")
    assert listed(tmp_path) == [
        ("Zwei Wörter/b/1.jpg", "Zwei Wörter", ""),
        ("ants/1.jpg", "ants", ""),
        ("ants/2.jpg", "ants", ""),
    ]


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "validation", "TEST")])
def test_folders_of_splits_above_those_of_classes(names, tmp_path):
    train, val, test = names
    put(tmp_path, f"{train}/a/1.jpg", f"{train}/b/1.jpg", f"{val}/a/2.jpg", f"{test}/b/3.jpg")
    assert sorted(split for _, _, split in listed(tmp_path)) == ["test", "train", "train", "val"]
    assert {label for _, label, _ in listed(tmp_path)} == {"a", "b"}


def test_folders_that_wrap_all_are_passed_through(tmp_path):
    put(tmp_path, "photos/insects/train/a/1.jpg", "photos/insects/test/b/1.jpg")
    assert listed(tmp_path) == [("test/b/1.jpg", "b", "test"), ("train/a/1.jpg", "a", "train")]


def test_a_zip_is_read_like_a_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("x/a/1.jpg", "x/b/1.jpg", "__MACOSX/x/a/._1.jpg"):
            archive.writestr(name, b"an image")
    assert [label for _, label, _ in listed(tmp_path / "x.zip")] == ["a", "b"]


def test_lists(tmp_path):
    put(tmp_path, "1.jpg", "b/2.jpg")
    (tmp_path / "x.csv").write_text("path,label,split,group\n1.jpg,a,train,p\nb/2.jpg,b,VALID,\n")
    rows = [{"path": "1.jpg", "label": "a", "split": "train"}, {"path": "b/2.jpg", "label": "b"}]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert listed(tmp_path / "x.csv") == [("1.jpg", "a", "train"), ("b/2.jpg", "b", "val")]
    assert listed(tmp_path / "x.jsonl") == [("1.jpg", "a", "train"), ("b/2.jpg", "b", "")]


def test_what_is_no_data_set_is_said_in_one_line(tmp_path):
    assert "no such folder" in refusal(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "0 files, no classes" in refusal(tmp_path / "empty")
    put(tmp_path / "one", "a/1.jpg")
    assert "one class, 'a'" in refusal(tmp_path / "one")


def test_a_file_in_no_class_has_no_label(tmp_path):
    put(tmp_path / "flat", "1.jpg", "a/1.jpg", "b/1.jpg")
    assert listed(tmp_path / "flat")[0] == ("1.jpg", "", "")
    put(tmp_path / "splits", "train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/2.jpg")
    assert ("val/2.jpg", "", "val") in listed(tmp_path / "splits")


BAD_LISTS = {
    "header": ("name,label\n", "the first line is 'name,label'"),
    "no label": ("path,label\n1.jpg,\n", "line 2"),
    "a split": ("path,label,split\n1.jpg,a,foo\n", "the split 'foo'"),
    "twice": ("path,label\n1.jpg,a\n1.jpg,b\n", "names 1.jpg twice"),
    "not there": ("path,label\n1.jpg,a\n9.jpg,b\n", "1 of 2 images are not there, as 9.jpg"),
    "outside": ("path,label\n../1.jpg,a\n", "without '..'"),
    "too many cells": ("path,label\n1.jpg,a,b\n", "line 2"),
}


@pytest.mark.parametrize("name", BAD_LISTS)
def test_a_list_that_cannot_be_used(name, tmp_path):
    content, words = BAD_LISTS[name]
    put(tmp_path, "1.jpg")
    (tmp_path / "x.csv").write_text(content)
    assert words in refusal(tmp_path / "x.csv")


@pytest.mark.parametrize("line", ["{", "[1]", '{"path": "1.jpg"}', '{"path": "1.jpg", "x": 1}'])
def test_a_line_of_json_that_cannot_be_used(line, tmp_path):
    (tmp_path / "x.jsonl").write_text(line)
    assert "line 1" in refusal(tmp_path / "x.jsonl")
