"""metrics.json with anything in it: compared, or refused in one line that names the file."""

import copy
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cifsel import workdir
from cifsel.comparison import runs, tables
from cifsel.comparison.candidates import differing_fields, group_into_candidates
from cifsel.comparison.runs import read_run
from cifsel.comparison.scores import candidate_cost
from cifsel.comparison.verdict import decide, sentence_on_test, sentence_on_validation
from cifsel.errors import UserError, printable

NONE_WRONG = {"val": [], "test": []}
SLOW_FIXTURE = [HealthCheck.function_scoped_fixture]


@pytest.fixture(scope="module")
def folder(two):
    """The folder of the run whose metrics tests change."""
    return two[0]


@pytest.fixture(scope="module")
def other_run(two):
    """The run that it is compared with, read once."""
    return read_run(str(two[1]))


@pytest.fixture(scope="module")
def whole(folder):
    """The metrics of the run. Of 50 classes and 10 coarse labels, two each are enough here."""
    metrics = json.loads((folder / workdir.METRICS).read_text())
    for split in ("val", "test"):
        for kind in ("per_class", "per_coarse"):
            metrics[split][kind] = dict(list(metrics[split][kind].items())[:2])
    return metrics


@pytest.fixture
def changed(folder):
    """Writes other metrics, for a test's time."""
    before = (folder / workdir.METRICS).read_bytes()
    yield lambda metrics: (folder / workdir.METRICS).write_text(json.dumps(metrics))
    (folder / workdir.METRICS).write_bytes(before)


def report(runs):
    """Makes the texts and tables of a comparison, without figures, and writes them as JSON."""
    candidates = group_into_candidates(runs)
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


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=SLOW_FIXTURE)
@given(data=st.data())
def test_any_value_in_metrics(folder, other_run, whole, changed, data):
    metrics = copy.deepcopy(whole)
    put(metrics, data.draw(st.sampled_from(places(metrics))), data.draw(VALUES))
    changed(metrics)
    try:
        report([read_run(str(folder)), other_run])
    except UserError as error:
        assert str(error) == printable(error)
        assert str(folder) in str(error)


# Of what a comparison asks for, at least.
NEEDED = ("model", "fingerprint", "command", "training.history", "val.loss", "test.accuracy",
          "cost.flops_per_image", "cost.seconds", "config.seed", "config.data_dir")  # fmt: skip


@pytest.mark.slow
def test_anything_missing_in_metrics(folder, other_run, whole, changed):
    refused = set()
    for place in (place for place in places(whole) if len(place) < 3):
        lacking = copy.deepcopy(whole)
        owner = lacking
        for name in place[:-1]:
            owner = owner[name]
        del owner[place[-1]]
        changed(lacking)
        try:
            report([read_run(str(folder)), other_run])
        except UserError as error:
            assert str(folder) in str(error)
            refused.add(".".join(map(str, place)))
    assert refused >= set(NEEDED)


@pytest.mark.parametrize(
    "case",
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
def test_what_is_wrong_is_said(folder, other_run, whole, changed, case):
    (place, value, said), metrics = case, copy.deepcopy(whole)
    put(metrics, ("config", "a.b") if place == "config.a.b" else place.split("."), value)
    changed(metrics)
    with pytest.raises(UserError) as caught:
        report([read_run(str(folder)), other_run])
    message = str(caught.value)
    assert message == printable(message)
    assert len(message) < 3_000
    assert "metrics.json" in message
    assert said in message


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
    report([read_run(folder) for folder in folders])
