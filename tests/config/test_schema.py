"""The schema: defaults of the right type, values in range, the names that other packages use."""

import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from cifsel.config import QUICKSTART, SELFIE, TASK1, flatten, to_json
from cifsel.config.schema import Bool, Choice, Choices, Float, Int, Numbers, Text
from cifsel.data import augment, transforms
from cifsel.data.photos import crops
from cifsel.models import classifier
from cifsel.models.weights import catalogue

REPO = Path(__file__).parents[2]
SCHEMAS = {"task 1": TASK1, "task 2": SELFIE, "quickstart": QUICKSTART}

# --- kinds of fields -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "right", "wrong"),
    [
        (Bool("x", True, ""), (True, False), (1, 0, None, "True")),
        (Text("x", "a", ""), ("", "b"), (None, 3, ("a",), True)),
        (Text("x", None, ""), (None, "b"), (3, ("a",), False)),
        (Choice("x", "a", "", ("a", "b")), ("a", "b"), ("c", None, 1, ("a",))),
        (Choice("x", 1, "", (1, 2)), (1, 2), (3, 1.0, True, "1", None)),
        (Choices("x", ("a",), "", ("a", "b")), (("a",), ["b", "a"]), ((), "a", ("c",), None)),
        (Int("x", 1, "", 1, 4), (1, 4), (0, 5, 1.0, True, "1", None)),
        (Int("x", 0, "", 2, 4, zero="none"), (0, 2, 4), (1, 5, False, 0.0)),
        (Float("x", 0.0, "", 0, 2), (0, 0.0, 2), (-0.1, 2.1, math.nan, math.inf, True, None)),
        (Float("x", 0.0, "", 0, 1, exclude=1), (0, 0.999), (1, 1.0, -1)),
        (Float("x", 1.0, "", 0, 1, exclude=0), (1e-9, 1), (0, 0.0, 1.1)),
        (Numbers("x", (1.0,), "", 0.5, 2), ((1,), [0.5, 2]), ((), 1.0, (0.1,), (math.nan,))),
        (Numbers("x", (1,), "", 1, 7), ((1, 7), [3]), ((1.0,), (0,), (True,), None, "1")),
    ],
)
def test_accepted_values(field, right, wrong):
    assert field.accepts(field.default)
    assert [value for value in right if not field.accepts(value)] == []
    assert [value for value in wrong if field.accepts(value)] == []


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (Bool("x", True, ""), "True or False"),
        (Text("x", "a", ""), "str"),
        (Text("x", None, ""), "str or None"),
        (Choice("x", 1, "", (1, 2)), "one of 1, 2"),
        (Choices("x", ("a",), "", ("a", "b")), "one or more of a, b"),
        (Int("x", 0, "", 0, 10_000_000), "int, 0 to 10000000"),
        (Int("x", 0, "", 2, 4, zero="none"), "int, 0 for none or 2 to 4"),
        (Float("x", 0.0, "", 0, 1e6), "float, 0 to 1e+06"),
        (Float("x", 0.0, "", 0, 1, exclude=1), "float, at least 0 and below 1"),
        (Float("x", 1.0, "", 0, 1, exclude=0), "float, above 0 and at most 1"),
        (Numbers("x", (1.0,), "", 0.5, 2), "tuple of one or more floats, 0.5 to 2"),
        (Numbers("x", (1,), "", 1, 7), "tuple of one or more ints, 1 to 7"),
    ],
)
def test_expected_values_in_words(field, words):
    assert field.expected == words


# --- the fields ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEMAS)
def test_defaults_are_accepted_and_have_the_type_of_the_field(name):
    """ConfigDict fixes the type of a field by its default: 0 would not accept 0.5."""
    for field in SCHEMAS[name].fields.values():
        assert field.accepts(field.default), field.name
        if isinstance(field, Float):
            assert type(field.default) is float, field.name
        elif isinstance(field, Numbers):
            assert {type(item) for item in field.default} == {type(field.least)}, field.name


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_has_help_without_a_full_stop(name):
    for field in SCHEMAS[name].fields.values():
        assert len(field.help) > 5, field.name
        assert not field.help.endswith("."), field.name


@pytest.mark.parametrize("name", SCHEMAS)
def test_defaults_have_every_field_in_order(name):
    schema = SCHEMAS[name]
    config = schema.defaults()
    assert list(to_json(config)) == list(
        dict.fromkeys(field.partition(".")[0] for field in schema.fields)
    )
    assert flatten(config) == {field.name: field.default for field in schema.fields.values()}
    count = sum(len(section) for section in schema.sections.values())
    assert len(schema.fields) == count, "a name stands twice"


def test_defaults_are_new_each_time():
    changed = TASK1.defaults()
    changed.augment.shift = 1
    assert TASK1.defaults().augment.shift == 4


@pytest.mark.parametrize("schema", [TASK1, SELFIE])
def test_unset_texts_keep_their_type(schema):
    """ConfigDict would accept any type in the place of a plain None."""
    unset = [field.name for field in schema.fields.values() if field.default is None]
    assert "weights_dir" in unset
    for name in unset:
        config = schema.defaults()
        with pytest.raises(TypeError):
            config[name] = 3
        config[name] = "set"


def test_quickstart_has_the_fields_of_both_tasks():
    nested = {name for name in QUICKSTART.fields if name.startswith("selfie.")}
    assert nested == {f"selfie.{name}" for name in SELFIE.fields}
    assert set(QUICKSTART.fields) == {*TASK1.fields, "models", *nested}


def test_flatten_names_nested_fields_with_dots():
    config = ConfigDict({"b": {"c": {"d": 1}, "e": None}, "a": (1, 2)})
    assert flatten(config) == {"b.c.d": 1, "b.e": None, "a": (1, 2)}


# --- the same names elsewhere --------------------------------------------------------------------


def test_choices_are_those_that_the_code_offers():
    assert TASK1.fields["model"].choices == classifier.MODELS
    assert SELFIE.fields["model"].choices == classifier.MODELS
    assert QUICKSTART.fields["models"].choices == classifier.MODELS
    assert TASK1.fields["resize"].choices == transforms.METHODS
    assert TASK1.fields["weights_resolution"].choices == catalogue.MOBILENET_RESOLUTIONS
    assert SELFIE.fields["crop"].choices == crops.CROPS


def test_crop_margin_has_the_range_of_crops():
    margin = SELFIE.fields["crop_margin"]
    assert (margin.least, margin.most) == (crops.MIN_MARGIN, crops.MAX_MARGIN)
    middle = SELFIE.fields["crop_middle"]
    assert (middle.least, middle.most) == (crops.MIN_MIDDLE, 1)


def test_augment_has_the_fields_of_the_policy():
    section = [field for name, field in TASK1.fields.items() if name.startswith("augment.")]
    names = {field.name.removeprefix("augment.") for field in section}
    assert names == {field.name for field in dataclasses.fields(augment.Policy)}
    for field in section:
        if not isinstance(field, Bool):
            name = field.name.removeprefix("augment.")
            for end in (field.least, field.most):
                assert getattr(augment.Policy(**{name: end}), name) == end


IMPORTS = """
import sys
from cifsel.config import TASK1, changed, differences, to_json, validate
from configs import common, effnet, mobilenet, quickstart, selfie
validate(quickstart.get_config())
differences(to_json(changed(effnet.get_config(), {"seed": 1})), to_json(common.get_config()))
print(sorted({"jax", "numpy", "tensorflow"} & set(sys.modules)))
"""


def test_configs_need_no_jax():
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=REPO, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
