"""The command that exports: the files it replaces, its flags, and its words."""

import dataclasses
import json
import sys

import pytest

from cifsel import export as export_command
from cifsel.errors import UserError
from cifsel.evaluation import features
from cifsel.prediction.exports import cifsel_format, formats, metadata, output


def test_the_command_knows_the_formats():
    known = (*formats.FORMATS, cifsel_format.NAME)
    assert known == export_command._FORMATS


@pytest.fixture
def export(tiny_selfie):
    return output.Export(b"content", metadata.of(tiny_selfie, "onnx"), 1e-7)


def test_only_an_export_is_replaced(export, tmp_path):
    path = tmp_path / "new" / "it.onnx"
    output.check(path, overwrite=False)
    output.write(path, export)
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "it.onnx",
        "it.onnx.json",
        "it.onnx.md",
    ]
    assert json.loads((tmp_path / "new/it.onnx.json").read_text())["largest_difference"] == 1e-7
    output.check(path, overwrite=False)
    output.write(path, dataclasses.replace(export, content=b"other"))
    output.check(path, overwrite=False)
    path.write_bytes(b"of the user")
    with pytest.raises(UserError, match="is there, and is no unchanged export of cifsel"):
        output.check(path, overwrite=False)
    output.check(path, overwrite=True)
    with pytest.raises(UserError, match="is a folder"):
        output.check(path.parent, overwrite=True)


def test_nothing_is_left_of_a_file_that_cannot_be_written(export, tmp_path, monkeypatch):
    monkeypatch.setattr(output.workdir, "write_json", lambda *_: pytest.fail("after the file"))
    (tmp_path / "it.onnx").mkdir()
    with pytest.raises(UserError, match="could not be written"):
        output.write(tmp_path / "it.onnx", export)
    assert [file.name for file in tmp_path.iterdir()] == ["it.onnx"]


# --- the command ---


def test_flags_that_do_not_fit(run, tmp_path):
    said, status = run("--checkpoint=x", "--format=keras", f"--output={tmp_path}/it.onnx")
    assert (status, said.count("\n")) == (2, 1)
    assert "its name ends in .keras for the whole model, or in .h5" in said
    said, status = run("--checkpoint=x", "--format=keras", "--quantize=int8", "--output=it.keras")
    assert (said, status) == (
        "error: --quantize=int8 is for --format=onnx and cifsel, not keras\n",
        2,
    )


def test_what_is_missing_is_one_line(run, tiny_task1, monkeypatch, tmp_path):
    source = tiny_task1(features.View(32, "bicubic", mirror=False), 20)
    monkeypatch.setattr("cifsel.prediction.exports.source.load", lambda _: source)
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    said, status = run("--checkpoint=x", "--format=onnx", f"--output={tmp_path}/it.onnx")
    assert status == 2
    assert said.endswith("which is not installed: pip install 'cifsel[onnx]'\n")
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_how_close_it_is(run, tiny_task1, monkeypatch, tmp_path):
    source = tiny_task1(features.View(32, "bicubic", mirror=False), 20)
    source = dataclasses.replace(source, computes_in="bfloat16")
    monkeypatch.setattr("cifsel.prediction.exports.source.load", lambda _: source)
    path = tmp_path / "it.bin"
    said, status = run("--checkpoint=x", "--format=stablehlo", f"--output={path}")
    assert status == 0
    assert "the run computes in bfloat16, the export in float32" in said
    assert "largest difference to cifsel.predict: " in said
    assert str(path) in said.replace("\n", "")
    path.write_bytes(b"")
    said, status = run("--checkpoint=x", "--format=stablehlo", f"--output={path}")
    assert status == 2
    assert "give another --output, or --overwrite" in said
