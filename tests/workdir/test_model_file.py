"""Model files: what rounding keeps, and what is refused of files that others made."""

import dataclasses
import json
import os
import pickle

import jax
import numpy as np
import pytest
import safetensors.numpy
from damage import CHANGES, changed
from hypothesis import HealthCheck, given, settings

from cifsel import config as config_lib
from cifsel.errors import UserError
from cifsel.workdir import model_file
from cifsel.workdir.model_file import FLOAT16, INT8, Facts
from cifsel.workdir.model_meta import ClassifierMeta
from configs import mobilenet

RNG = np.random.default_rng(0)
TREE = {
    "params": {
        "conv": {"kernel": RNG.normal(0, 0.2, (3, 3, 4, 6)).astype(np.float32)},
        "head": {
            "kernel": RNG.normal(0, 3, (6, 2)).astype(np.float32),
            "bias": np.array([1e-9, 1e5], np.float32),
        },
    },
    "batch_stats": {"bn": {"var": np.array([0.5, 2e-7], np.float32)}},
}
KERNELS = ("conv", "head")
TEMPLATE = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), TREE)
META = ClassifierMeta(
    config_lib.to_json(mobilenet.get_config()), ("ant", "bee"), (), (), 32, "x", None
)
KNOWN = np.array([0.5, 0.9, 1.0], np.float32)


def facts(weights, **changes):
    made = Facts(
        weights, META.to_json(), {}, 1.0, None, {"0.9": 0.1}, {"seed": 0}, "Apache-2.0", "1"
    )
    return dataclasses.replace(made, **changes)


def content(stored=FLOAT16, known=KNOWN, changed_arrays=None, **changes):
    arrays = model_file.encode(TREE, stored) | (changed_arrays or {})
    return model_file.to_bytes(arrays, facts(**{"weights": stored} | changes), known)


@pytest.mark.parametrize("weights", [FLOAT16, INT8])
def test_a_file_gives_back_what_was_put_in(weights, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content(weights))
    file = model_file.read(path)
    assert (file.meta, file.facts) == (META, facts(weights))
    np.testing.assert_array_equal(file.calibration, KNOWN)
    restored, expected = file.model(TEMPLATE), model_file.rounded(TREE, weights)
    jax.tree.map(np.testing.assert_array_equal, restored, expected)
    # Only kernels are rounded, to 11 bits, or to 127 steps up to the largest of each channel.
    assert restored["params"]["head"]["bias"].tolist() == TREE["params"]["head"]["bias"].tolist()
    for name in KERNELS:
        before, after = TREE["params"][name]["kernel"], restored["params"][name]["kernel"]
        largest = abs(before).max(tuple(range(before.ndim - 1)))
        step = abs(before) / 2**11 + 1e-7 if weights == FLOAT16 else largest / 127 / 2 + 1e-6
        assert (abs(before - after) <= step).all()
        assert (before != after).any()


def test_nothing_is_compiled_for_the_shapes_of_a_file(caplog):
    shapes = {f"layer{i}": jax.ShapeDtypeStruct((7, i), np.float32) for i in range(301, 304)}
    arrays = model_file.encode(
        {name: np.ones(leaf.shape, np.float32) for name, leaf in shapes.items()}, FLOAT16
    )
    file = model_file.parse(model_file.to_bytes(arrays, facts(FLOAT16), KNOWN), "")
    with jax.log_compiles():
        restored = file.model(shapes)
        assert all(isinstance(leaf, jax.Array) for leaf in restored.values())
        assert "ompiling" not in caplog.text
        jax.numpy.asarray(np.ones((7, 305), np.float32)) + 1
        assert "ompiling" in caplog.text  # It would be seen.


def test_int8_has_half_the_size():
    tree = {"kernel": np.ones((200, 100), np.float32)}
    sizes = [
        len(model_file.to_bytes(model_file.encode(tree, weights), facts(weights), None))
        for weights in (FLOAT16, INT8)
    ]
    assert sizes[0] - sizes[1] == pytest.approx(20_000, abs=1_000)


def test_a_channel_of_zeros_stays_zero():
    tree = {"kernel": np.array([[0, 2], [0, -1]], np.float32)}
    assert model_file.rounded(tree, INT8)["kernel"][:, 0].tolist() == [0, 0]


def test_numbers_that_float16_does_not_have_are_refused():
    with pytest.raises(UserError, match="kernel has numbers of more than 65,504"):
        model_file.encode({"kernel": np.full((2, 2), 1e5, np.float32)}, FLOAT16)


def read(data):
    """Reads a file and its variables."""
    return model_file.parse(data, "FILE").model(TEMPLATE)


def with_text(text):
    """A file whose header has this text."""
    return safetensors.numpy.save(model_file.encode(TREE, FLOAT16), {"cifsel": text})


NOT_OURS = "FILE is no model file of cifsel: give"
DAMAGED = "FILE is damaged, or of another version of cifsel"
KERNEL, VAR = "params/conv/kernel", "batch_stats/bn/var"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", NOT_OURS),
        (b"\x80\x04" + pickle.dumps({"a": 1}), NOT_OURS),
        (b"PK\x03\x04" + bytes(100), NOT_OURS),
        (safetensors.numpy.save({"a": np.zeros(3)}), NOT_OURS),
        (safetensors.numpy.save({"a": np.zeros(3)}, {"format": "pt"}), NOT_OURS),
        ((2**62).to_bytes(8, "little") + b"{" * 100, NOT_OURS),
        ((5_000).to_bytes(8, "little") + b"[" * 5_000, NOT_OURS),
        (content()[:-1], DAMAGED),
        (content() + b"\0", DAMAGED),
        (with_text("no JSON"), DAMAGED),
        (with_text("[" * 100_000), DAMAGED),
        (with_text("[]"), "of another version of cifsel"),
        (with_text(json.dumps({"version": 2})), "of another version of cifsel"),
        (with_text(json.dumps({"version": 1})), "there is no 'weights'"),
        (with_text(json.dumps(facts(FLOAT16).to_json() | {"temperature": float("nan")})), DAMAGED),
        (content(weights="int4"), "its weights are 'int4'"),
        (content(record=[]), "its record is no object"),
        (content(licence=None), "its licence is no text"),
        (content(meta={}), "checkpoint FILE is of task None"),
        (content(meta=META.to_json() | {"class_names": []}), "class_names has 0 names"),
        (content(known=np.array([0.5, 1.5])), "calibration has numbers that are no probabilities"),
        (content(changed_arrays={"calibration": np.ones((1, 1))}, known=None), "calibration is f"),
        (content(INT8, weights=FLOAT16), f"{KERNEL} is int8 (3, 3, 4, 6); expected float16"),
        (content(changed_arrays={KERNEL: np.zeros((3, 3), np.float16)}), f"{KERNEL} is float16 (3"),
        (content(changed_arrays={VAR: np.zeros(2)}), f"{VAR} is float64 (2,); expected float32"),
        (content(changed_arrays={VAR: np.array([-1, 1], np.float32)}), "negative variances"),
        (content(changed_arrays={VAR: np.array([np.nan, 1], np.float32)}), "not finite"),
        (content(changed_arrays={"more": np.zeros(2)}), "it has 5 arrays; expected 4"),
    ],
)
def test_a_damaged_or_other_file_is_refused_in_one_line(data, message):
    with pytest.raises(UserError) as refused:
        read(data)
    assert message in str(refused.value)


def test_an_array_that_is_missing_is_named():
    arrays = model_file.encode(TREE, INT8)
    del arrays[f"{KERNEL}.scale"]
    with pytest.raises(UserError, match=f"there is no {KERNEL}.scale"):
        read(model_file.to_bytes(arrays, facts(INT8), None))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=CHANGES)
def test_bytes_changed_at_random_are_read_or_refused(changes):
    try:
        read(changed(content(INT8), changes))
    except UserError as error:
        assert len(str(error).splitlines()) == 1


def test_what_is_no_file_is_refused(tmp_path, monkeypatch):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, message in (
        (tmp_path / "none", "no such file"),
        (tmp_path, "cannot be read as a model file"),
        (pipe, "cannot be read as a model file"),
    ):
        with pytest.raises(UserError, match=message):
            model_file.read(path)
    monkeypatch.setattr(model_file, "MAX_BYTES", 100)
    (tmp_path / "large").write_bytes(content())
    with pytest.raises(UserError, match="more than 0 MB"):
        model_file.read(tmp_path / "large")
