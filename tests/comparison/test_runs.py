"""Which runs can be compared, and what is said of those that cannot."""

import json
import shutil

import numpy as np
import pytest
from etils import epath

from cifsel import workdir
from cifsel.comparison.candidates import Candidate, differing_fields, group_into_candidates
from cifsel.comparison.results import best_run
from cifsel.comparison.runs import read_run
from cifsel.errors import UserError

NONE_WRONG = {"val": [], "test": []}


def change(folder, **fields):
    """Changes fields of metrics.json."""
    path = epath.Path(folder) / workdir.METRICS
    metrics = json.loads(path.read_text())
    for name, value in fields.items():
        metrics[name] = value
    path.write_text(json.dumps(metrics))


def change_arrays(folder, **arrays):
    path = epath.Path(folder) / workdir.PREDICTIONS
    workdir.write_npz(path, workdir.read_npz(path) | arrays)


def test_seeds_of_a_model_are_one_candidate(pair):
    # In any order.
    candidates = group_into_candidates(
        [read_run(folder) for folder in (pair[1], pair[3], pair[0], pair[2])]
    )
    assert [candidate.name for candidate in candidates] == ["MobileNet", "EfficientNetV2-B0"]
    assert [[run.config["seed"] for run in c.runs] for c in candidates] == [[0, 1], [0, 1]]
    assert candidates[0].right("test").shape == (2, 100)
    np.testing.assert_array_equal(candidates[1].right("test").sum(1), [95, 95])


def test_equal_models_are_told_apart_by_what_differs(make_run, tmp_path):
    folders = [
        make_run(tmp_path / "a", "mobilenet", NONE_WRONG),
        make_run(tmp_path / "b", "mobilenet", NONE_WRONG, image_size=64),
        make_run(tmp_path / "c", "efficientnetv2-b0", NONE_WRONG),
    ]
    candidates = group_into_candidates([read_run(folder) for folder in folders])
    expected = ["MobileNet (image_size 32)", "MobileNet (image_size 64)", "EfficientNetV2-B0"]
    assert [candidate.name for candidate in candidates] == expected
    assert differing_fields(candidates)["image_size"] == [32, 64, 32]


def test_recipes_tell_equal_models_apart(make_run, tmp_path):
    fields = {"recipe": "probe", "method": "probe", "epochs": 1, "batch_size": 1}
    folders = [
        make_run(tmp_path / "a", "mobilenet", NONE_WRONG),
        make_run(tmp_path / "b", "mobilenet", NONE_WRONG, **fields),
    ]
    candidates = group_into_candidates([read_run(folder) for folder in folders])
    assert [candidate.name for candidate in candidates] == [
        "MobileNet (finetune)",
        "MobileNet (probe)",
    ]


def test_a_recipe_that_the_number_of_images_chose_is_that_recipe(make_run, tmp_path):
    fields = {"recipe": "auto", "method": "auto"}
    folders = [
        make_run(tmp_path / "a", "mobilenet", NONE_WRONG, **fields),
        make_run(tmp_path / "b", "efficientnetv2-b0", NONE_WRONG),
    ]
    change(folders[0], recipe="finetune")
    candidates = group_into_candidates([read_run(folder) for folder in folders])
    assert not {"method", "recipe"} & set(differing_fields(candidates))


def test_best_run_is_the_seed_of_highest_validation_accuracy(make_run, tmp_path):
    wrong = [{"val": [1, 2], "test": []}, {"val": [1], "test": [1, 2, 3]}, {"val": [5], "test": []}]
    folders = [
        make_run(tmp_path / str(seed), "mobilenet", mistakes, seed=seed)
        for seed, mistakes in enumerate(wrong)
    ]
    folders.append(make_run(tmp_path / "other", "efficientnetv2-b0", NONE_WRONG))
    candidates = group_into_candidates([read_run(folder) for folder in folders])
    assert candidates[0].best_run().config["seed"] == 1


def test_best_json_leads_from_its_folder_to_a_run_given_by_a_relative_path(
    make_run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "run", "mobilenet", NONE_WRONG)
    candidate = Candidate("MobileNet", (read_run("run"),))
    for folder in ("comparison", "below/comparison"):
        assert best_run(epath.Path(folder), candidate).run == str(tmp_path / "run")
    assert best_run(epath.Path("."), candidate).run == "run"


def refuses(folders, *words):
    with pytest.raises(UserError) as caught:
        group_into_candidates([read_run(folder) for folder in folders])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_one_model_alone_is_refused(pair):
    refuses(pair[:2], "MobileNet", "2 seeds")


def test_the_same_run_twice_is_refused(pair):
    refuses([*pair, pair[0]], pair[0], "same run")


def test_other_test_images_are_refused(pair):
    ids = workdir.read_npz(epath.Path(pair[2]) / workdir.PREDICTIONS)["test_ids"]
    change_arrays(pair[2], test_ids=ids + 1)
    refuses(pair, pair[0], pair[2], "different test images", "99 in common", "test_examples")


def test_another_division_is_refused(pair):
    ids = workdir.read_npz(epath.Path(pair[2]) / workdir.PREDICTIONS)["val_ids"]
    change_arrays(pair[2], val_ids=ids[::-1].copy())
    refuses(pair, "different validation images", "split_seed")


def test_other_labels_are_refused(pair):
    path = epath.Path(pair[3]) / workdir.PREDICTIONS
    arrays = workdir.read_npz(path)
    labels = arrays["test_labels"].copy()
    # Of two images that it gets right, one each way: its accuracy stays as it was.
    labels[1], labels[0] = labels[0], arrays["test_logits"][0].argmax()
    right = float(np.mean(arrays["test_logits"].argmax(1) == labels))
    change_arrays(pair[3], test_labels=labels)
    metrics = json.loads((epath.Path(pair[3]) / workdir.METRICS).read_text())
    change(pair[3], test=metrics["test"] | {"accuracy": right})
    refuses(pair, pair[3], "different labels")


def test_other_classes_are_refused_by_name(pair):
    names = workdir.read_npz(epath.Path(pair[3]) / workdir.PREDICTIONS)["class_names"].copy()
    names[7] = "pear"
    change_arrays(pair[3], class_names=names)
    refuses(pair, pair[0], pair[3], "pear", "different classes")


def test_other_training_images_are_refused(pair):
    change(pair[2], fingerprint="f" * 64)
    refuses(pair, "another run", "fingerprint: ffffffffffff")
    shutil.rmtree(epath.Path(pair[2]) / "checkpoints")
    refuses(pair, "training images", "ffffffffffff", "train_fraction")


def test_unfinished_run_is_refused(pair):
    (epath.Path(pair[0]) / workdir.METRICS).unlink()
    refuses(pair, pair[0], "unfinished", "command again")


def test_a_folder_that_is_no_run_is_refused(tmp_path, pair):
    refuses([*pair, str(tmp_path / "nothing")], "nothing", "no run")


def test_metrics_of_something_else_are_refused(pair):
    path = epath.Path(pair[0]) / workdir.METRICS
    path.write_text('{"accuracy": 1.0}')
    refuses(pair, str(path), "lacks model, config")


@pytest.mark.parametrize(
    "arrays",
    [
        {"test_logits": np.full((100, 50), np.nan, np.float32)},
        {"test_logits": np.zeros((100, 49), np.float32)},
        {"test_labels": np.zeros(100, np.float32)},
        {"val_ids": np.zeros(3, np.int32)},
    ],
    ids=["nan", "classes", "dtype", "rows"],
)
def test_damaged_predictions_are_refused(pair, arrays):
    change_arrays(pair[1], **arrays)
    refuses(pair, "predictions.npz", "damaged", "command again")


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_unreadable_predictions_are_refused(pair, content):
    path = epath.Path(pair[1]) / workdir.PREDICTIONS
    path.write_bytes(content)
    refuses(pair, str(path), "damaged")


def test_predictions_of_another_run_are_refused(pair):
    for name in (workdir.PREDICTIONS,):
        (epath.Path(pair[0]) / name).write_bytes((epath.Path(pair[2]) / name).read_bytes())
    refuses(pair, pair[0], "not of the same run")


@pytest.mark.parametrize("file", [workdir.CONFIG, workdir.METRICS, "checkpoints"])
def test_files_of_another_seed_are_refused(make_run, tmp_path, file):
    """Each by itself: the others still say whose they are."""
    folders = [make_run(tmp_path / str(n), "mobilenet", NONE_WRONG, seed=n) for n in (0, 1)]
    mine, other = (epath.Path(folder) / file for folder in folders)
    shutil.rmtree(mine) if mine.is_dir() else mine.unlink()
    shutil.copytree(other, mine) if other.is_dir() else shutil.copy(other, mine)
    with pytest.raises(UserError, match=r"of (another run|different runs).*seed: ") as caught:
        read_run(folders[0])
    assert str(tmp_path / "0") in str(caught.value)


def test_run_without_config_is_told_by_its_metrics_and_checkpoint(make_run, tmp_path):
    folder = make_run(tmp_path / "a", "mobilenet", NONE_WRONG)
    (epath.Path(folder) / workdir.CONFIG).unlink()
    assert read_run(folder).config["model"] == "mobilenet"
    change(folder, config=read_run(folder).config | {"epochs": 99})
    with pytest.raises(UserError, match="epochs: "):
        read_run(folder)
