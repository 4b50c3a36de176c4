"""Changing configs, comparing them, and keeping them as JSON."""

import pytest

from cifsel.config import PLACES, SELFIE, TASK1, changed, differences, to_json
from cifsel.errors import UserError
from configs import effnet, quickstart


def test_changed_sets_fields_of_a_copy():
    config = effnet.get_config()
    other = changed(config, {"seed": 3, "augment.shift": 1, "warmup_epochs": 1})
    assert (other.seed, other.augment.shift, other.warmup_epochs) == (3, 1, 1.0)
    assert config.to_dict() == effnet.get_config().to_dict()
    assert differences(to_json(config), to_json(other)) == [
        "augment.shift: 4 -> 1",
        "seed: 0 -> 3",
        "warmup_epochs: 0.5 -> 1.0",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epocs": 3}, r"no field 'epocs' \(did you mean epochs\?\)$"),
        ({"augment.sharpen": 1}, r"no field 'augment.sharpen'"),
        ({"epochs": "six"}, r"config.epochs is 'six'; expected int, 1 to 10000"),
        ({"epochs": 0}, r"config.epochs is 0; expected int, 1 to 10000"),
        ({"epochs": None}, r"config.epochs is None; expected int, 1 to 10000"),
        ({"augment": 3}, r"no field 'augment'"),
    ],
)
def test_changed_refuses(changes, message):
    with pytest.raises(UserError, match=message):
        changed(effnet.get_config(), changes)


def test_json_has_every_field_and_no_tuples():
    config = quickstart.get_config()
    settings = to_json(config)
    assert settings["probe_l2"] == list(config.probe_l2)
    assert settings["data_dir"] is None
    assert settings["augment"]["flip"] is True
    assert settings["selfie"]["folds"] == config.selfie.folds
    assert differences(settings, to_json(quickstart.get_config())) == []


def test_differences_name_fields_and_both_values():
    old = {"rate": 0.5, "seed": 0, "augment": {"shift": 4, "flip": True}, "data_dir": None}
    new = {"rate": 5.0, "augment": {"shift": 1, "flip": True}, "data_dir": "/elsewhere"}
    assert differences(old, new) == [
        "augment.shift: 4 -> 1",
        "rate: 0.5 -> 5.0",
        "seed: 0 -> 'absent'",
    ]


def test_places_do_not_change_the_result():
    assert {"data_dir", "weights_dir", "checkpoint_minutes", "process"} <= set(PLACES)
    assert not {"seed", "epochs", "image_size", "l2", "weights"} & set(PLACES)
    for schema in (TASK1, SELFIE):
        for name, field in schema.fields.items():
            assert (name in PLACES) != field.changes_result
