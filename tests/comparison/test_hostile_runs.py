"""Folders of runs with anything in them: compared, or refused in one line that names the file."""

import copy
import dataclasses
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

from cifsel import compare, workdir
from cifsel.comparison import runs, tables
from cifsel.comparison.candidates import differing_fields, group_into_candidates
from cifsel.comparison.runs import read_run
from cifsel.comparison.scores import candidate_cost
from cifsel.comparison.verdict import decide, sentence_on_test, sentence_on_validation
from cifsel.errors import UserError, printable
from cifsel.prediction import predictor

NONE_WRONG = {"val": [], "test": []}
SLOW_FIXTURE = [HealthCheck.function_scoped_fixture]


@pytest.fixture(scope="module")
def two(make_run, tmp_path_factory):
    """The folders of two runs, which tests write other files into."""
    folder = tmp_path_factory.mktemp("runs")
    mistakes = {"val": np.arange(9), "test": np.arange(7)}
    made = [
        make_run(folder / "a", "mobilenet", mistakes),
        make_run(folder / "b", "efficientnetv2-b0", NONE_WRONG),
    ]
    return [Path(folder) for folder in made]


@pytest.fixture(scope="module")
def whole(two):
    """The content of the first run's files."""
    return {name: (two[0] / name).read_bytes() for name in (workdir.METRICS, workdir.PREDICTIONS)}


def report(folders):
    """Makes the texts and tables of a comparison, without figures, and writes them as JSON."""
    candidates = group_into_candidates([read_run(str(folder)) for folder in folders])
    verdict = decide(candidates)
    sentences = [sentence_on_validation(verdict), sentence_on_test(verdict)]
    all_images = np.ones(candidates[0].right("test").shape[1], bool)
    shown = (
        tables.score_table(candidates, all_images),
        tables.difference_table(candidates, verdict),
        tables.config_table(candidates),
        tables.version_table(candidates),
    )
    costs = [dataclasses.asdict(candidate_cost(candidate)) for candidate in candidates]
    fields = differing_fields(candidates)
    json.dumps([sentences, costs, fields, [str(table) for table in shown]])


def refusal(two, file="metrics.json"):
    with pytest.raises(UserError) as caught:
        report(two)
    message = str(caught.value)
    assert message == printable(message)
    assert len(message) < 3_000
    assert file in message
    return message


def places(content, above=()):
    """The path of every value in JSON, the inner ones of lists but once."""
    paths = []
    if isinstance(content, dict | list):
        pairs = content.items() if isinstance(content, dict) else list(enumerate(content))[:1]
        for name, value in pairs:
            paths += [(*above, name), *places(value, (*above, name))]
    return paths


def put(content, place, value):
    *above, last = place
    for name in above:
        content = content[name]
    content[last] = value


NUMBERS = st.one_of(
    st.sampled_from([0, -1, 1, 2, 1e-300, 1e18, 1e300, -1e300, 10**400, True, False]),
    st.integers(-5, 5),
    st.floats(allow_nan=False, allow_infinity=False),
)
TEXTS = st.one_of(st.text(max_size=5), st.sampled_from(["\x1b[2J", "\ud800", "x" * 3_000, "|<b>_"]))
VALUES = st.recursive(
    st.none() | NUMBERS | TEXTS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXTS, below, max_size=3),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=SLOW_FIXTURE)
@given(data=st.data())
@pytest.mark.slow
def test_any_value_in_metrics(two, whole, data):
    metrics = json.loads(whole[workdir.METRICS])
    place = data.draw(st.sampled_from(places(metrics)))
    value = data.draw(VALUES)
    put(metrics, place, value)
    (two[0] / workdir.METRICS).write_text(json.dumps(metrics))
    try:
        report(two)
    except UserError as error:
        assert str(error) == printable(error)
        assert str(two[0]) in str(error)
    finally:
        (two[0] / workdir.METRICS).write_bytes(whole[workdir.METRICS])


# Of what a comparison asks for, at least.
NEEDED = ("model", "fingerprint", "command", "training.history", "val.loss", "test.accuracy",
          "cost.flops_per_image", "cost.seconds", "config.seed", "config.data_dir")  # fmt: skip


@pytest.mark.slow
def test_anything_missing_in_metrics(two, whole):
    metrics, refused = json.loads(whole[workdir.METRICS]), set()
    try:
        for place in (place for place in places(metrics) if len(place) < 3):
            lacking = copy.deepcopy(metrics)
            owner = lacking
            for name in place[:-1]:
                owner = owner[name]
            del owner[place[-1]]
            (two[0] / workdir.METRICS).write_text(json.dumps(lacking))
            try:
                report(two)
            except UserError as error:
                assert str(two[0]) in str(error)
                refused.add(".".join(map(str, place)))
    finally:
        (two[0] / workdir.METRICS).write_bytes(whole[workdir.METRICS])
    assert refused >= set(NEEDED)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("model", "\x1b[2Jnet", r"model is '\x1b[2Jnet', not one of mobilenet"),
        ("config", [], "there is no recipe"),
        ("config.seed", "0", "config.seed is '0'; expected int, 0 to"),
        ("config.seed", True, "config.seed is True"),
        ("config.seed", 1.5, "config.seed is 1.5; expected int, 0 to"),
        ("config.a.b", 1, "config is of something else"),
        ("config.recipe", {"a": 1}, "recipe is {'a': 1}, not str"),
        ("test.accuracy", "high", "test.accuracy is 'high', not int or float"),
        ("test.accuracy", 1.5, "test.accuracy is 1.5, not 0 to 1"),
        ("val.loss", 10**400, "val.loss is 1000"),
        ("cost.seconds", {"a": -1}, "a is -1, not 0 to 1e+18"),
        ("cost.images_per_second", 0, "images_per_second is 0, not 1e-09 to"),
        ("cost.flops_per_image", -1, "flops_per_image is -1"),
        ("training.history", [3], "there is no epoch"),
        ("training.history", [{"epoch": 1, "val_loss": "low"}], "val_loss is 'low'"),
        ("fingerprint", None, "fingerprint is None, not str"),
        ("versions", "1.0", "versions is '1.0', not dict"),
    ],
)
def test_what_is_wrong_is_said(two, whole, place, value, said):
    metrics = json.loads(whole[workdir.METRICS])
    path = ("config", "a.b") if place == "config.a.b" else place.split(".")
    put(metrics, path, value)
    (two[0] / workdir.METRICS).write_text(json.dumps(metrics))
    try:
        assert said in refusal(two)
    finally:
        (two[0] / workdir.METRICS).write_bytes(whole[workdir.METRICS])


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
        workdir.BEST: lambda: predictor.run_of(epath.Path(tmp_path)),
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


@pytest.fixture
def other_arrays(two, whole):
    """Writes other predictions, for a test's time."""

    def change(**changes):
        with np.load(io.BytesIO(whole[workdir.PREDICTIONS])) as archive:
            arrays = {**archive, **changes}
        kept = {name: array for name, array in arrays.items() if array is not None}
        (two[0] / workdir.PREDICTIONS).write_bytes(packed(kept))

    yield change
    (two[0] / workdir.PREDICTIONS).write_bytes(whole[workdir.PREDICTIONS])


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
def test_predictions_of_another_kind(two, other_arrays, changes, said):
    other_arrays(**changes)
    assert said in refusal(two, "predictions.npz")


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=SLOW_FIXTURE)
@given(
    changes=st.lists(
        st.tuples(st.floats(0, 0.999), st.integers(0, 400), st.binary(max_size=8)), min_size=1
    )
)
@pytest.mark.slow
def test_damaged_predictions(two, whole, changes):
    content = bytearray(whole[workdir.PREDICTIONS])
    for share, cut, new in changes:
        start = int(share * len(content))
        content[start : start + cut] = new
    (two[0] / workdir.PREDICTIONS).write_bytes(content)
    try:
        report(two)
    except UserError as error:
        assert str(error) == printable(error)
        assert str(two[0]) in str(error)
    finally:
        (two[0] / workdir.PREDICTIONS).write_bytes(whole[workdir.PREDICTIONS])


@pytest.mark.parametrize(
    "changes",
    [
        {"test_labels": np.full(100, 77, np.int32)},
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
        patch.setattr(compare.build, "dataset", lambda _: dataset)
        with pytest.raises(UserError, match=r"is not of the \w+ images of metrics\.json"):
            compare.compare(folders, str(tmp_path / "out"))
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
    for read in (read_run, predictor.load, lambda given: compare.compare(["/a", "/b"], given)):
        with pytest.raises(UserError, match="is neither a local path nor gs://BUCKET/NAME"):
            read(address)


@pytest.mark.parametrize("folder", ["x" * 300, "nul\0", "~nobody-of-this-name/x", "a/" * 3_000])
def test_folders_that_cannot_be(folder):
    for read in (read_run, predictor.load):
        with pytest.raises(UserError, match=r"no run|not there") as caught:
            read(folder)
        assert str(caught.value).isprintable()


def test_fields_that_only_one_run_has(make_run, tmp_path, monkeypatch):
    """Also where they have the name of an inner field of the others'."""
    monkeypatch.setattr(runs, "_check_owner", lambda path: None)  # It asks the checkpoint.
    folders = [make_run(tmp_path / name, "mobilenet", NONE_WRONG, epochs=n + 1)
               for n, name in enumerate("abc")]  # fmt: skip
    for folder, augment in zip(folders[1:], ({"flip": {"more": 1}}, 3), strict=True):
        path = Path(folder, workdir.METRICS)
        metrics = json.loads(path.read_text())
        metrics["config"] = copy.deepcopy(metrics["config"]) | {"augment": augment}
        path.write_text(json.dumps(metrics))
    report(folders)
