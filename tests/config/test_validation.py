"""The configs of this repository are valid; a value that cannot work is refused by name."""

import importlib
import math

import pytest
from ml_collections import ConfigDict

from cifsel import predict
from cifsel.config import (
    QUICKSTART,
    SELFIE,
    TASK1,
    Parser,
    check_fields,
    did_you_mean,
    to_json,
    validate,
)
from cifsel.config.schema import Bool
from cifsel.errors import UserError
from configs import selfie

FILES = {
    file: importlib.import_module(f"configs.{file}")
    for file in ("effnet", "mobilenet", "quickstart", "selfie")
}
RUNS = [(file, recipe) for file, module in FILES.items() for recipe in module.RECIPES]
SCHEMAS = {"effnet": TASK1, "quickstart": QUICKSTART, "selfie": SELFIE}


def get(file="effnet", *recipe):
    """The config of a file, which may still need what only the user knows."""
    config = FILES[file].get_config(*recipe)
    if file == "selfie":
        config.photos, config.init_from = "drawn", "imagenet"
    return config


def put(config, name, value):
    """Sets a field to a value of any type. ConfigDict lets None pass, others in a new field."""
    *groups, last = name.split(".")
    for group in groups:
        config = config[group]
    if value is not None:
        del config[last]
    config[last] = value


def refusal(config):
    with pytest.raises(UserError) as error:
        validate(config)
    return str(error.value)


# --- the files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "recipe"), RUNS)
def test_recipe_is_valid_and_knows_its_name(file, recipe):
    config = get(file, recipe)
    validate(config)
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


def test_a_task_1_run_of_the_quickstart_keeps_the_fields_of_the_quickstart():
    config = get("quickstart")
    config.task = "task1"
    validate(config)


# --- single fields -------------------------------------------------------------------------------


@pytest.mark.parametrize("file", SCHEMAS)
@pytest.mark.parametrize("value", [None, math.nan, "\x1b[2J", ("a",)])
def test_every_field_refuses_what_it_does_not_accept(file, value):
    """ConfigDict itself accepts None in the place of any value."""
    refused = 0
    for name, field in SCHEMAS[file].fields.items():
        if name.endswith("task") or field.accepts(value):
            continue
        config = get(file)
        put(config, name, value)
        assert refusal(config) == f"config.{name} is {value!r}; expected {field.expected}".replace(
            "\x1b", "\\x1b"
        )
        refused += 1
    assert refused > 15


@pytest.mark.parametrize("file", SCHEMAS)
def test_numbers_are_no_switches_and_switches_no_numbers(file):
    for name, field in SCHEMAS[file].fields.items():
        value = 1 if isinstance(field, Bool) else True
        config = get(file)
        put(config, name, value)
        assert refusal(config).startswith(f"config.{name} is {value}; expected"), name


@pytest.mark.parametrize("value", ["nope", None, 3, ("task1",)])
def test_unknown_task(value):
    config = get()
    put(config, "task", value)
    assert refusal(config).startswith(f"config.task is {value!r}; expected one of task1, selfie")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_size", 31),
        ("image_size", 96.0),
        ("train_size", 31),
        ("train_size", 1025),
        ("batch_size", 0),
        ("dropout", 1.0),
        ("train_fraction", 0.0),
        ("train_fraction", 1.5),
        ("augment.shift", 32),
        ("augment.rotate", -1.0),
        ("probe_l2", ()),
        ("probe_l2", (1e-3, 0.0)),
        ("probe_l2", 0.1),
        ("resize", "lanczos"),
        ("weights", None),
    ],
)
def test_refuses(name, value):
    config = get()
    put(config, name, value)
    expected = TASK1.fields[name].expected
    assert refusal(config) == f"config.{name} is {value!r}; expected {expected}"


@pytest.mark.parametrize(
    ("name", "value"), [("learning_rate", 1), ("warmup_epochs", 0), ("probe_l2", [1, 2.5])]
)
def test_accepts_whole_numbers_and_lists(name, value):
    config = get()
    put(config, name, value)
    validate(config)


@pytest.mark.parametrize("models", [(), ("mobilenet", "resnet")])
def test_quickstart_refuses_models_before_training_any(models):
    config = get("quickstart")
    config.models = models
    assert refusal(config).startswith("config.models is ")


@pytest.mark.parametrize("name", ["seed", "image_size", "train_fraction", "resize", "probe_l2"])
def test_check_fields_reads_json(name):
    settings = to_json(get())
    check_fields(settings, [name])
    with pytest.raises(UserError, match=f"config.{name} is 'nope'; expected "):
        check_fields(settings | {name: "nope"}, [name])
    del settings[name]
    with pytest.raises(UserError, match=f"config has no field '{name}'; expected "):
        check_fields(settings, [name])


# --- fields that are not there, or should not be -------------------------------------------------


def test_unknown_field_has_a_suggestion_or_says_where_the_list_is():
    config = get()
    config.batch_sise = 3
    assert refusal(config) == "config has no field 'batch_sise' (did you mean batch_size?)"
    config = get("selfie")
    config.epochs = 3
    assert (
        refusal(config) == "config has no field 'epochs'; --help beside --config lists its fields"
    )


@pytest.mark.parametrize(
    ("given", "known", "meant"),
    [
        ("image-size", ["seed", "image_size"], "image_size"),
        ("IMAGE_SIZE", ["seed", "image_size"], "image_size"),
        ("flip", ["augment.flip", "seed"], "augment.flip"),
        ("effnet", ["configs/effnet.py", "configs/selfie.py"], "configs/effnet.py"),
        ("no", ["True", "False"], "False"),
        ("Yes", ["True", "False"], "True"),
        ("non", ["none"], "none"),
        ("xyzzy", ["seed", "image_size"], ""),
    ],
)
def test_did_you_mean(given, known, meant):
    assert did_you_mean(given, known) == (f" (did you mean {meant}?)" if meant else "")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--checkpiont=x", "a.jpg"], "(did you mean --checkpoint?)"),
        (["--checkpoint=x", "a.jpg", "--jsn"], "(did you mean --json?)"),
        (["--checkpoint=x", "--", "--jsn"], ""),
    ],
)
def test_mistyped_arguments(words, hint, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["predict", *words])
    if not hint:
        assert predict.parser().parse_args(words).photos == ["--jsn"]
        return
    with pytest.raises(SystemExit):
        predict.parser().parse_args(words)
    assert hint in capsys.readouterr().err


def test_mistyped_choices_of_arguments(capsys):
    parser = Parser("x", "")
    parser.add_argument("--recipe", choices=("finetune", "probe", "notebook"))
    with pytest.raises(SystemExit):
        parser.parse_args(["--recipe=prob"])
    assert "(did you mean probe?)" in capsys.readouterr().err


def test_missing_field():
    config = get()
    del config["epochs"]
    del config.augment["flip"]
    message = refusal(config)
    assert message == (
        "config.task is 'task1', but the config lacks epochs, augment.flip; start from"
        " get_config() of configs/common.py"
    )


def test_task_of_another_file():
    config = get()
    config.task = "quickstart"
    assert refusal(config).startswith(
        "config.task is 'quickstart', but the config lacks models, selfie.task, "
    )


@pytest.mark.parametrize("value", [None, 3])
def test_nested_config_that_is_none(value):
    config = get()
    put(config, "augment", value)
    assert refusal(config) == (
        f"config.augment is {value}; expected a ConfigDict, as configs/common.py gives it"
    )


@pytest.mark.parametrize("config", [None, 3, {"task": "task1"}])
def test_no_config_at_all(config):
    with pytest.raises(UserError, match=r"expected get_config\(\) to return a ConfigDict"):
        validate(config)
    assert refusal(ConfigDict()).startswith("config.task is None")


# --- fields that depend on each other ------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"hidden": 16}, "hidden"),
        ({"pool": "flatten", "train_size": 0}, "pool"),
        ({"train_size": 64, "trainable_layers": 0}, "train_size"),
        ({"train_size": 64, "pool": "flatten", "init_head": "random"}, "train_size"),
        ({"trainable_layers": 3, "frozen_bn": False}, "frozen_bn"),
        ({"processes": 2}, "distributed"),
        ({"process": 1}, "distributed"),
        ({"distributed": "host0"}, "distributed"),
        ({"distributed": "host0:1234", "processes": 2, "process": 2}, "process"),
    ],
)
def test_fields_that_do_not_go_together(changes, name):
    config = get()
    config.update(changes)
    assert refusal(config).startswith(f"config.{name} is ")


def test_fields_of_several_processes():
    config = get()
    config.update({"distributed": "host0:1234", "processes": 2, "process": 1})
    validate(config)


def test_task_2_needs_photos_and_a_start():
    config = selfie.get_config()
    assert refusal(config).startswith("config.photos is None; expected a folder")
    config.photos = "photos"
    assert refusal(config).startswith("config.init_from is None; expected the folder of a task-1")
    config.init_from = "imagenet"
    validate(config)
    config.update({"people_csv": "a.csv", "people_pattern": "x"})
    assert refusal(config).startswith("config.people_pattern is 'x'; expected not set")


def test_quickstart_checks_its_second_task_before_the_first():
    config = get("quickstart")
    config.selfie.folds = 1
    assert refusal(config).startswith("config.selfie.folds is 1")
    config.selfie.folds, config.selfie.photos = 5, ""
    assert refusal(config).startswith("config.selfie.photos is ''")
    config = get("quickstart")
    config.distributed = "auto"
    assert refusal(config).startswith("config.distributed is 'auto'; expected 'off'")
