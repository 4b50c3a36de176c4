"""Every field is documented, checked, and refused by name when it is out of range."""

import importlib
import inspect
import re

import pytest

from cifsel import config as config_lib
from cifsel.config import validation
from cifsel.errors import UserError
from configs import selfie

FILES = {
    file: importlib.import_module(f"configs.{file}")
    for file in ("effnet", "mobilenet", "quickstart")
}
RUNS = [(file, recipe) for file, module in FILES.items() for recipe in module.RECIPES]
# Checked by rules of their own, or free: names and places.
OWN_RULE = {"distributed", "train_fraction", "train_size", "probe_l2", "models"}
FREE = {"name", "recipe", "data_dir", "weights", "weights_dir"}


def get(file="effnet", *recipe):
    return FILES[file].get_config(*recipe)


def refusal(config):
    with pytest.raises(UserError) as error:
        validation.validate(config)
    assert "\n" not in str(error.value)
    return str(error.value)


def changed(field, value):
    config = get()
    with config.ignore_type():
        config.update_from_flattened_dict({field: value})
    return config


# --- the files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "recipe"), RUNS)
def test_recipe_is_valid_and_knows_its_name(file, recipe):
    config = get(file, recipe)
    validation.validate(config)
    assert (config.name, config.recipe) == (file, recipe)


@pytest.mark.parametrize("file", FILES)
def test_default_recipe_is_the_first(file):
    module = FILES[file]
    assert get(file).to_dict() == get(file, module.RECIPES[0]).to_dict()
    with pytest.raises(ValueError, match=f"configs/{file}.py has no recipe 'nope'") as error:
        get(file, "nope")
    for recipe in module.RECIPES:
        assert recipe in str(error.value)


@pytest.mark.parametrize("file", FILES)
def test_docstring_gives_the_command(file):
    assert f"python -m cifsel.main --config=configs/{file}.py" in FILES[file].__doc__


@pytest.mark.parametrize("file", FILES)
def test_no_field_without_a_check(file):
    """augment.Policy checks its own, see `test_augmentation`."""
    config = get(file)
    fields = {
        field
        for field in config_lib.fields(config)
        if not field.startswith(("augment.", "selfie."))
    }
    checked = {*validation.CHOICES, *validation.RANGES, *validation.SHARES, *OWN_RULE, *FREE}
    assert {config.get_type(field) for field in fields - checked} == {bool}
    assert checked <= fields | {"models"}


def test_no_field_of_task_2_without_a_check():
    config = selfie.get_config()
    fields = set(config_lib.fields(config)) - {"task", "name", "recipe"}
    checked = {*validation.SELFIE_CHOICES, *validation.SELFIE_RANGES, *validation.SELFIE_GRIDS}
    # Read, and refused, by name where they are used: see test_selfie.py.
    checked |= {"photos", "people_csv", "people_pattern", "init_from", "weights_dir", "image_size"}
    assert {config.get_type(field) for field in fields - checked} == {bool}
    assert checked <= fields


def test_quickstart_checks_its_second_task_before_the_first():
    config = get("quickstart")
    config.selfie.folds = 1
    assert refusal(config).startswith("config.selfie.folds is 1")


def test_every_field_of_common_has_its_type_in_a_comment():
    source = inspect.getsource(importlib.import_module("configs.common").get_config)
    # From each assignment to the next one, whatever the formatter did to long lines.
    assignments = re.findall(
        r"^    c\.([\w.]+) = (.*?)(?=^    (?:c\.|#|return))", source, re.M | re.S
    )
    assignments = [(field, text) for field, text in assignments if text != "ConfigDict()\n"]
    config = get()
    assert sorted(field for field, _ in assignments) == config_lib.fields(config)
    for field, text in assignments:
        owner, _, name = field.rpartition(".")
        kind = (config[owner] if owner else config).get_type(name).__name__
        assert re.search(rf"# {kind}( in [\[(].*?[\])])?: \S", text), f"{field} = {text}"


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("field", validation.CHOICES)
def test_choices(field):
    message = refusal(changed(field, "nope"))
    assert message.startswith(f"config.{field} is 'nope'")
    for choice in validation.CHOICES[field]:
        assert str(choice) in message


@pytest.mark.parametrize("field", validation.RANGES)
def test_ranges(field):
    least, most = validation.RANGES[field]
    for value in (least - 1, most * 2 + 1, float("nan"), float("inf")):
        message = refusal(changed(field, value))
        assert message.startswith(f"config.{field} is ")
        assert message.endswith(f"; expected {least:g} to {most:g}")


@pytest.mark.parametrize("field", validation.SHARES)
@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_shares(field, value):
    assert refusal(changed(field, value)).startswith(f"config.{field} is {value!r}")


@pytest.mark.parametrize("field", sorted(set(get().augment) - {"flip"}))
@pytest.mark.parametrize("value", [-1, 1e6])
def test_augmentation(field, value):
    message = refusal(changed(f"augment.{field}", value))
    assert message.startswith(f"config.augment.{field} is {value}")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_size", 31),
        ("batch_size", 0),
        ("augment.shift", 32),
        ("train_fraction", 0.0),
        ("train_size", 31),
        ("train_size", 1025),
        ("train_fraction", 1.5),
        ("probe_l2", ()),
        ("probe_l2", (1e-3, 0.0)),
        ("probe_l2", ("a",)),
        ("probe_l2", (None,)),
    ],
)
def test_refuses(field, value):
    assert refusal(changed(field, value)).startswith(f"config.{field} is ")


@pytest.mark.parametrize("models", [(), ("mobilenet", "resnet")])
def test_quickstart_refuses_models_before_training_any(models):
    config = get("quickstart")
    config.models = models
    assert refusal(config).startswith("config.models is ")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"hidden": 16}, "hidden"),
        ({"pool": "flatten", "train_size": 0}, "pool"),
        ({"train_size": 64, "trainable_layers": 0}, "train_size"),
        ({"train_size": 64, "pool": "flatten", "init_head": "random"}, "train_size"),
        ({"trainable_layers": 3, "frozen_bn": False}, "frozen_bn"),
        ({"task": "quickstart"}, "task"),
    ],
)
def test_fields_that_do_not_go_together(fields, named):
    config = get()
    config.update(fields)
    assert refusal(config).startswith(f"config.{named} is ")


# --- comparing -----------------------------------------------------------------------------------


def test_json_has_every_field_and_no_tuples():
    settings = config_lib.to_json(get("quickstart"))
    assert settings["probe_l2"] == list(get().probe_l2)
    assert settings["data_dir"] is None
    assert settings["augment"]["flip"] is True
    assert config_lib.differences(settings, config_lib.to_json(get("quickstart"))) == []


def test_differences_name_fields_and_both_values():
    old, new = config_lib.to_json(get()), config_lib.to_json(changed("augment.shift", 1))
    new["learning_rate"], new["data_dir"] = 5.0, "/elsewhere"
    del new["seed"]
    rate = get().learning_rate
    assert config_lib.differences(old, new) == [
        "augment.shift: 4 -> 1",
        f"learning_rate: {rate!r} -> 5.0",
        "seed: 0 -> 'absent'",
    ]


def test_places_are_fields():
    assert set(config_lib.PLACES) <= set(config_lib.fields(get()))


@pytest.mark.parametrize("field", ["data_dir", "weights_dir"])
def test_unset_fields_keep_their_type(field):
    """ConfigDict would take anything in the place of a plain None."""
    with pytest.raises(TypeError):
        get()[field] = 3
