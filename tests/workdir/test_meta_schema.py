"""Every field of a checkpoint's meta is checked by type and range."""

import copy
import dataclasses
import math

import pytest

from cifsel import config as config_lib
from cifsel.errors import UserError
from cifsel.workdir import model_meta
from cifsel.workdir.model_meta import Backbone, ClassifierMeta, Crop, SeenPhoto, SelfieMeta
from configs import effnet, quickstart, selfie

CLASSIFIER = ClassifierMeta(
    config=config_lib.to_json(effnet.get_config()),
    class_names=("cat", "dog"),
    coarse_names=("animals",),
    coarse_of=(0, 0),
    image_side=32,
    fingerprint="0",
    weights={"file": "a.h5", "tensors_sha256": "0"},
)
PHOTOS = SelfieMeta(
    l2=0.1,
    temperature=1.5,
    places=(("block3", 2),),
    backbone=Backbone("mobilenet", 0.5),
    class_names=("happy", "sad"),
    image_size=96,
    resize="bicubic",
    mirror=True,
    crop=Crop("none", 1.0, False, 1.0),
    sure_from=None,
    unlike_from=2.5,
    init_from="run",
    config=config_lib.to_json(selfie.get_config()),
    seen=(SeenPhoto("0123", 1, (0.25, 0.75), "0123456789abcdef"),),
)
ODD = [None, "x", -1, 10**9, 1.5, math.nan, math.inf, [], {}, [[]], [1], True, "x\x1b", {"a": {}}]
MAY_BE_NULL = {"weights", "sure_from", "unlike_from"}
# Values above that these fields accept.
ACCEPTED = {
    "fingerprint": ["x", "x\x1b"],
    "init_from": ["x", "x\x1b"],
    "mirror": [True],
    "crop.fallback": [True],
    "backbone.alpha": [1.5],
    "crop.margin": [1.5],
    "temperature": [1.5],
    "l2": [1.5],
    "unlike_from": [1.5],
    "config": [{}, {"a": {}}],
    "seen": [[]],
    "weights.file": ["x", "x\x1b"],
    "weights.tensors_sha256": ["x", "x\x1b"],
}


def fields(content):
    """Names of all fields but those of the config, with dots."""
    for name, value in content.items():
        yield name
        if isinstance(value, dict) and name != "config":
            yield from (f"{name}.{inner}" for inner in value)


def with_value(content, name, value):
    changed = copy.deepcopy(content)
    group, _, inner = name.rpartition(".")
    (changed[group] if group else changed)[inner] = value
    return changed


@pytest.mark.parametrize("meta", [CLASSIFIER, PHOTOS], ids=["task 1", "task 2"])
def test_what_was_written_comes_back(meta):
    content = meta.to_json()
    assert model_meta.parse(content, "here") == type(meta)(**{**vars(meta)})
    assert model_meta.parse(content, "here").to_json() == content


@pytest.mark.parametrize(
    ("meta", "name"),
    [(meta, name) for meta in (CLASSIFIER, PHOTOS) for name in fields(meta.to_json())],
)
def test_odd_values_of_every_field_are_refused_in_one_line(meta, name):
    for value in ODD:
        if value in ACCEPTED.get(name, []) or (value is None and name in MAY_BE_NULL):
            continue
        with pytest.raises(UserError, match="here") as caught:
            model_meta.parse(with_value(meta.to_json(), name, value), "here")
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("image_size", 200_000, "image_size is 200000; expected int, 32 to 1024"),
        ("image_size", "x", "image_size is 'x'"),
        ("resize", "lanczos", "resize is 'lanczos'; expected one of nearest, bilinear, bicubic"),
        ("places", [["block3", 10**6]], "expected a layer and int, 1 to 32"),
        ("class_names", ["a", "a"], "the same name twice"),
        ("class_names", [str(i) for i in range(20_000)], "20000 names"),
        ("seen", [{"digest": "0", "label": 2, "held_out": [0.5, 0.5]}], "label is 2"),
        ("seen", [{"digest": "0", "label": 1, "held_out": [0.5]}], "1 numbers for 2 classes"),
        ("config.folds", 10**9, "config.folds is 1000000000; expected int, 3 to 20"),
    ],
)
def test_what_is_expected_is_said(name, value, said):
    with pytest.raises(UserError) as caught:
        model_meta.parse(with_value(PHOTOS.to_json(), name, value), "here")
    assert said in str(caught.value)


def test_fields_of_the_config_of_task_1_are_checked():
    for name, value in (("image_size", 200_000), ("resize", "lanczos"), ("hidden", "x")):
        with pytest.raises(UserError, match=rf"config\.{name} is .*; expected "):
            model_meta.parse(with_value(CLASSIFIER.to_json(), f"config.{name}", value), "here")


def test_configs_of_other_versions_may_lack_fields_and_have_others():
    config = config_lib.to_json(quickstart.get_config()) | {"task": "task1", "new": [{"a": 1}]}
    del config["drop_path"]
    assert model_meta.parse(CLASSIFIER.to_json() | {"config": config}, "here").config == config


def test_checkpoints_of_before_do_not_name_their_photos():
    content = PHOTOS.to_json()
    del content["seen"]
    assert model_meta.parse(content, "here").seen == ()


def test_checkpoints_of_before_do_not_know_copies():
    content = PHOTOS.to_json()
    del content["seen"][0]["look"]
    assert model_meta.parse(content, "here").seen == (SeenPhoto("0123", 1, (0.25, 0.75)),)
    for wrong in ("xyz", "0123456789ABCDEF", 5):
        content["seen"][0]["look"] = wrong
        with pytest.raises(UserError, match=r"look is .*; expected 16 hexadecimal digits"):
            model_meta.parse(content, "here")


def test_classes_may_be_without_groups():
    alone = dataclasses.replace(CLASSIFIER, coarse_names=(), coarse_of=())
    assert ClassifierMeta.from_json(alone.to_json()) == alone
    half = alone.to_json() | {"coarse_of": [0, 0]}
    with pytest.raises(ValueError, match="coarse_of"):
        ClassifierMeta.from_json(half)
