"""All of task 1: which runs are made in which order, and which fields can be changed."""

import pytest

from cifsel import config as config_lib
from cifsel import sweep, task1
from cifsel.comparison import comparing
from cifsel.errors import UserError
from cifsel.prediction import published
from cifsel.selfie import run as selfie_run
from configs import effnet, mobilenet, quickstart
from experiments import task1 as command


@pytest.fixture
def calls(monkeypatch):
    """Collects the runs that would be trained: model, seed, folder."""
    calls = []

    def train_and_evaluate(config, folder, writer):
        calls.append((config.model, config.seed, folder))

    monkeypatch.setattr(task1, "train_and_evaluate", train_and_evaluate)
    monkeypatch.setattr(comparing, "compare", lambda folders, output: (folders, output))
    return calls


def test_all_models_of_a_seed_before_the_next(calls, tmp_path):
    configs = [mobilenet.get_config(), effnet.get_config()]
    configs[0].seed = configs[1].seed = 5
    compared = sweep.run(configs, str(tmp_path), seeds=2)
    assert [(model, seed) for model, seed, _ in calls] == [
        ("mobilenet", 5),
        ("efficientnetv2-b0", 5),
        ("mobilenet", 6),
        ("efficientnetv2-b0", 6),
    ]
    folders = [folder for _, _, folder in calls]
    assert folders[0] == str(tmp_path / "mobilenet-seed5")
    assert len(set(folders)) == 4
    assert compared == (folders, str(tmp_path))
    # The configs given are not touched.
    assert [config.seed for config in configs] == [5, 5]


def test_a_folder_that_is_a_run_is_refused_before_training(calls, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="is the workdir of a run"):
        sweep.run([effnet.get_config()], str(tmp_path))
    assert not calls


def test_task_2_of_the_quickstart_starts_from_the_model_that_cifsel_comes_with(
    calls, tmp_path, monkeypatch
):
    started = []
    monkeypatch.setattr(
        selfie_run,
        "evaluate_and_train",
        lambda config, folder, writer, init_from: started.append((init_from, config.image_size)),
    )
    monkeypatch.setattr(published, "FOLDERS", (tmp_path / "models",))
    sweep.quickstart(quickstart.get_config(), str(tmp_path / "run"))
    # Without one, it is the network that has seen drawn shapes, at the size of the config.
    assert started == [(str(tmp_path / "run"), 64)]
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / published.NAME).touch()
    sweep.quickstart(quickstart.get_config(), str(tmp_path / "run"))
    assert started[1:] == [(str(tmp_path / "models" / published.NAME), 0)]


def test_fields_are_set_in_both_configs():
    changed = command.configs("probe", ["image_size=96", "augment.flip=False", "optimizer=sgd"])
    assert {config.model for config in changed} == {"mobilenet", "efficientnetv2-b0"}
    for config in changed:
        assert (config.recipe, config.image_size, config.optimizer) == ("probe", 96, "sgd")
        assert config.augment.flip is False


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("image_sise=96", ("image_sise", "image_size")),
        ("epochs=many", ("config.epochs is 'many'", "expected int")),
        ("epochs=0", ("epochs is 0", "1 to")),
        ("optimizer=adam", ("'adam'", "adamw, sgd")),
    ],
)
def test_what_cannot_be_set_is_one_line(change, words):
    with pytest.raises(UserError) as caught:
        command.configs("finetune", [change])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_recipes_of_the_command_are_those_of_both_models():
    assert effnet.RECIPES == mobilenet.RECIPES


# Fields that the ablation chose for each model, with the same budget for both.
TUNED = {"train_size", "learning_rate", "frozen_bn", "augment.one_random"}


@pytest.mark.parametrize(("recipe", "tuned"), [("probe", set()), ("finetune", TUNED)])
def test_configs_of_both_models_differ_by_the_model_and_what_was_tuned(recipe, tuned):
    """The comparison is fair: the same images, sizes, epochs and head."""
    pair = [config_lib.to_json(model.get_config(recipe)) for model in (mobilenet, effnet)]
    fields = {line.partition(":")[0] for line in config_lib.differences(*pair)}
    assert fields == {"model", "name"} | tuned
