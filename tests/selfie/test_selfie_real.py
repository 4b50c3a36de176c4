"""Task 2 on the real 24 photos with real weights, and the command that predicts, on one of them."""

import importlib.util
import json
import sys

import pytest
from PIL import Image

from cifsel import predict
from cifsel.selfie import run as run_module
from cifsel.workdir import summaries
from configs import selfie as selfie_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def photos(real_data):
    if not (real_data / "selfies").is_dir():
        pytest.skip(f"no photos: {real_data / 'selfies'} is not there")
    return real_data / "selfies"


@pytest.fixture(scope="module")
def run(real_data, photos, tmp_path_factory):
    """A short run: one network, at few pixels, one crop and no report."""
    if importlib.util.find_spec("mtcnn") is None:
        pytest.skip("mtcnn is not installed")
    folder = tmp_path_factory.mktemp("selfie")
    config = selfie_config.get_config()
    config.update(
        {
            "photos": str(photos),
            "init_from": "imagenet",
            "model": "mobilenet",
            "weights_dir": str(real_data / "weights"),
            "image_size": 96,
            "crop": "expression",
            "compare_crops": False,
            "repeats": 2,
            "permutations": 10,
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "write_report", lambda *_: None)
        return folder, run_module.evaluate_and_train(config, str(folder), summaries.Summaries())


def test_expressions_of_other_people_are_told_apart_better_than_by_luck(run):
    _, metrics = run
    (probe,) = metrics["candidates"]
    assert metrics["photos"]["group_count"] == 24  # one person each
    assert probe["leave_one_out"]["auc"] > 0.85
    assert probe["leave_one_out"]["right"] >= 18
    assert metrics["permutation"]["p"] < 0.2
    assert max(metrics["permutation"]["accuracies"]) < 0.95


def test_command_predicts_from_the_checkpoint(run, photos, tmp_path, monkeypatch, capsys):
    folder, _ = run
    # Reduced, but one that it was made from.
    photo = tmp_path / "a photo.png"
    with Image.open(photos / "happy" / "happy_01.jpg") as image:
        image.resize((300, 300)).save(photo)
    monkeypatch.setattr(sys, "argv", ["predict", f"--checkpoint={folder}", str(photo), "--json"])
    capsys.readouterr()
    predict.main()
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["photo"] == str(photo)
    assert answer["probabilities"].keys() == {"happy", "sad"}
    assert answer["probabilities"]["happy"] > 0.5
