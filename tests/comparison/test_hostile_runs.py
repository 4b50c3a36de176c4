"""Folders of runs with anything in them: compared, or refused in one line that names the file."""

import io
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cifsel import workdir
from cifsel.comparison import comparing
from cifsel.comparison.runs import read_run
from cifsel.errors import UserError, printable
from cifsel.prediction import predictor, restoring

NONE_WRONG = {"val": [], "test": []}
SLOW_FIXTURE = [HealthCheck.function_scoped_fixture]


JSON = {
    "empty": (b"", "Expecting value"),
    "binary": (bytes(range(128, 256)), "can't decode"),
    "list": (b"[1]", "holds a list, not an object"),
    "cut": (b'{"model": ', "Expecting value"),
    "nan": (b'{"model": NaN}', "Out of range float values"),
    "infinite": (b'{"model": 1e999}', "Out of range float values"),
    "deep": (b'{"a":' * 100 + b"1" + b"}" * 100, "nested more than 20 deep"),
    "very deep": (b"[" * 100_000, "recursion"),
    "digits": (b'{"a": ' + b"9" * 5_000 + b"}", "4300 digits"),
    "large": (b" " * (workdir.MAX_JSON_BYTES + 1), "more than 16 MB"),
    "pickle": (b"\x80\x04cos\nsystem\n.", "can't decode"),
}


@pytest.mark.parametrize("kind", [*JSON, "pipe", "folder", "device", "loop"])
@pytest.mark.parametrize("file", [workdir.METRICS, workdir.BEST, workdir.CONFIG])
def test_json_that_is_none(tmp_path, kind, file):
    path, said = tmp_path / file, "not a regular file"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
        said = "no run" if file == workdir.METRICS else "neither"
    else:
        path.write_bytes(JSON[kind][0])
        said = JSON[kind][1]
    reads = {
        workdir.METRICS: lambda: read_run(str(tmp_path)),
        workdir.BEST: lambda: restoring.run_of(epath.Path(tmp_path)),
        workdir.CONFIG: lambda: workdir.check(epath.Path(tmp_path), {}),
    }
    if kind == "loop" and file == workdir.CONFIG:
        reads[file]()  # as if it were not there
        return
    with pytest.raises(UserError) as caught:
        reads[file]()
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert str(caught.value).isprintable()


# --- predictions ---------------------------------------------------------------------------------


def packed(arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(two):
    """The folder of the run whose predictions tests change."""
    return two[0]


@pytest.fixture(scope="module")
def whole(folder):
    """Its predictions."""
    return (folder / workdir.PREDICTIONS).read_bytes()


@pytest.fixture
def other_arrays(folder, whole):
    """Writes other predictions, for a test's time."""

    def change(**changes):
        with np.load(io.BytesIO(whole)) as archive:
            arrays = {**archive, **changes}
        kept = {name: array for name, array in arrays.items() if array is not None}
        (folder / workdir.PREDICTIONS).write_bytes(packed(kept))

    yield change
    (folder / workdir.PREDICTIONS).write_bytes(whole)


def logits(*shape, value=0.0, kind=np.float32):
    return np.full(shape, value, kind)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"test_logits": logits(100, 50, value=math.inf)}, "not finite"),
        ({"test_logits": logits(100, 50, value=1e30)}, "1e+09 and more"),
        ({"test_logits": logits(100, 50, kind=np.complex64)}, "test_logits is complex64"),
        ({"test_logits": logits(100, 50, 1)}, "(100, 50, 1)"),
        ({"test_logits": logits(0, 50)}, "0 rows"),
        ({"test_logits": np.float32(1)}, "test_logits is float32 ()"),
        ({"val_labels": None}, "val_labels"),
        ({"val_ids": np.array(["a"] * 100)}, "val_ids is <U1"),
        ({"class_names": np.array("abc")}, "class_names is <U3 ()"),
        ({"class_names": np.arange(50)}, "class_names is int64"),
        ({"class_names": np.array([b"a"] * 50)}, "class_names is |S1"),
        ({"class_names": np.empty(0, "U1")}, "0 class names do not fit"),
    ],
)
def test_predictions_of_another_kind(folder, other_arrays, changes, said):
    other_arrays(**changes)
    with pytest.raises(UserError, match=r"predictions\.npz") as caught:
        read_run(str(folder))
    assert said in str(caught.value)
    assert str(caught.value) == printable(caught.value)


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=SLOW_FIXTURE)
@given(
    changes=st.lists(
        st.tuples(st.floats(0, 0.999), st.integers(0, 400), st.binary(max_size=8)), min_size=1
    )
)
def test_damaged_predictions(folder, whole, changes):
    content = bytearray(whole)
    for share, cut, new in changes:
        start = int(share * len(content))
        content[start : start + cut] = new
    (folder / workdir.PREDICTIONS).write_bytes(content)
    try:
        read_run(str(folder))
    except UserError as error:
        assert str(error) == printable(error)
        assert str(folder) in str(error)
    finally:
        (folder / workdir.PREDICTIONS).write_bytes(whole)


@pytest.mark.parametrize(
    "changes",
    [
        {"test_labels": np.full(100, 49, np.int32)},
        {"test_ids": np.full(100, -1, np.int32)},
        {"class_names": np.array([f"\x1b[{n}m" for n in range(50)])},
    ],
    ids=["labels", "ids", "names"],
)
def test_what_fits_together_may_still_be_of_other_images(make_run, dataset, tmp_path, changes):
    """The fingerprint is equal, but that alone is not believed."""
    folders = [
        make_run(tmp_path / model, model, NONE_WRONG)
        for model in ("mobilenet", "efficientnetv2-b0")
    ]
    for folder in folders:
        path = Path(folder, workdir.PREDICTIONS)
        with np.load(path) as archive:
            arrays = {**archive, **changes}
        path.write_bytes(packed(arrays))
        metrics = json.loads(Path(folder, workdir.METRICS).read_text())
        right = arrays["test_logits"].argmax(1) == arrays["test_labels"]
        metrics["test"]["accuracy"] = float(right.mean())
        Path(folder, workdir.METRICS).write_text(json.dumps(metrics))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing.build, "dataset", lambda _: dataset)
        with pytest.raises(UserError, match=r"is not of the \w+ images of metrics\.json"):
            comparing.compare(folders, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


# --- pointers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (None, "does not name a run"),
        (["a"], "does not name a run"),
        ("", "has no checkpoint"),
        (".", "has no checkpoint"),
        ("a\0b", r"leads to"),
        ("x" * 5_000, "leads to"),
        ("../" * 2_000, "leads to"),
        ("/dev/zero", "leads to /dev/zero"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\ud800", r"\ud800"),
        ("again", "leads to"),
        ("https://example.org/run", "neither a local path nor gs://"),
        ("gs://[", "neither a local path nor gs://"),
    ],
)
def test_pointers_that_lead_nowhere(tmp_path, run, said):
    (tmp_path / "best.json").write_text(json.dumps({"run": run}))
    (tmp_path / "again").mkdir()  # A comparison that leads back here is not gone through.
    (tmp_path / "again" / "best.json").write_text(json.dumps({"run": ".."}))
    with pytest.raises(UserError) as caught:
        predictor.load(str(tmp_path))
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "best.json"]


@pytest.mark.parametrize("address", ["http://example.org/run", "gs://", "gs://[", "s3://b/x"])
def test_addresses_of_another_kind(address):
    for read in (read_run, predictor.load, lambda given: comparing.compare(["/a", "/b"], given)):
        with pytest.raises(UserError, match="is neither a local path nor gs://BUCKET/NAME"):
            read(address)


@pytest.mark.parametrize("folder", ["x" * 300, "nul\0", "~nobody-of-this-name/x", "a/" * 3_000])
def test_folders_that_cannot_be(folder):
    for read in (read_run, predictor.load):
        with pytest.raises(UserError, match=r"no run|not there") as caught:
            read(folder)
        assert str(caught.value).isprintable()
