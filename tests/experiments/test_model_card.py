"""The model card says what the files say of themselves, and the committed one is up to date."""

import dataclasses

import numpy as np
import pytest

from cifsel import config as config_lib
from cifsel.errors import UserError
from cifsel.workdir import model_file
from cifsel.workdir.model_file import INT8, Facts
from cifsel.workdir.model_meta import ClassifierMeta
from configs import effnet
from experiments import model_card

SCORE = {"images": 5_000, "accuracy": 0.8642, "interval": [0.8544, 0.8734]}
RECORD = {
    "checkpoint_sha256": "c" * 64,
    "dataset": "cifar100",
    "seed": 2,
    "examples": {"train": 22_500, "val": 2_500, "test": 5_000},
    "validation": SCORE | {"accuracy": 0.871, "images": 2_500},
    "test": SCORE,
    "test_by_class": {"man": 0.61, "boy": 0.42, "skunk": 0.99, "none": None},
    "rounding": {"images": 2_500, "before": 0.871, "after": 0.8704},
    "command": "python -m cifsel.main --config=configs/effnet.py",
    "finished": "2026-12-01T10:00:00+00:00",
    "devices": "1 x cpu",
    "git_commit": "0123456789abcdef",
}
META = ClassifierMeta(
    config_lib.to_json(effnet.get_config()),
    ("ant", "bee"),
    (),
    (),
    32,
    "f",
    {"file": "b0.h5", "tensors_sha256": "a" * 64},
)
LOOK = {"side": 32, "image_size": 160, "resize": "bicubic", "mirror": True}
FACTS = Facts(
    weights=INT8,
    meta=META.to_json(),
    preprocessing=LOOK | {"mean": [1.0, 2.0, 3.0], "std": [4.0] * 3},
    temperature=1.0,
    sure_from=None,
    coverage={"0.9": 0.0512},
    record=RECORD,
    licence="Apache-2.0",
    cifsel_version="0.1.0",
)


def write(folder, facts=FACTS, name="efficientnetv2-b0.safetensors"):
    (folder / name).write_bytes(model_file.to_bytes({"a": np.zeros(2, np.float32)}, facts, None))


def test_the_card_says_what_the_file_says(tmp_path):
    write(tmp_path)
    text = model_card.card(tmp_path)
    for words in (
        "| [efficientnetv2-b0.safetensors](efficientnetv2-b0.safetensors) | EfficientNetV2-B0 |",
        "| EfficientNetV2-B0 | 160 |",
        "| int8 | 86.4 % | 85.4 to 87.3 % |",
        "22,500 training, 2,500 validation, 5,000 test images",
        "87.10 % of 2,500 validation images in float32, 87.04 % in int8",
        "recognised: boy 42 %, man 61 %, skunk 99 %",
        "resized to 160 (bicubic), then (RGB - [1.0, 2.0, 3.0]) / [4.0, 4.0, 4.0]",
        "from a probability of 0.0512 on hold the right one for 90 %",
        "seed 2, 2026-12-01, 1 x cpu, commit 0123456789ab",
        "b0.h5, tensors aaaaaaaaaaaa",
        "Licence: Apache-2.0",
    ):
        assert words in text
    write(tmp_path, dataclasses.replace(FACTS, coverage={}, record=RECORD | {"rounding": None}))
    text = model_card.card(tmp_path)
    assert "Sets of classes: not calibrated" in text
    assert "What the rounding to int8 changes was not measured" in text


def test_the_card_has_the_answers_for_drawn_animals(tmp_path):
    write(tmp_path)
    assert "drawn" not in model_card.card(tmp_path)
    lines = "photo,label,probability", "x/drawn/crab.webp,crab,0.97", "x/drawn/bee.webp,boy,0.14"
    (tmp_path / "efficientnetv2-b0.csv").write_text("\n".join(lines))
    text = model_card.card(tmp_path)
    assert "| ![bee](drawn/bee.webp) | bee | boy 14 % |\n" in text
    assert "| ![crab](drawn/crab.webp) | crab | crab 97 % |\n" in text


def test_what_is_no_published_model_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"has no \.safetensors file"):
        model_card.card(tmp_path)
    write(tmp_path, dataclasses.replace(FACTS, record={}), name="selfie.safetensors")
    with pytest.raises(UserError, match="is of no run of task 1"):
        model_card.card(tmp_path)
    monkeypatch.setattr(model_card, "MAX_BYTES", 10)
    with pytest.raises(UserError, match="expected 0 at most"):
        model_card.card(tmp_path)


def test_an_outdated_card_is_found_and_written(tmp_path, monkeypatch):
    monkeypatch.setattr(model_card, "FOLDER", tmp_path)
    write(tmp_path)
    with pytest.raises(SystemExit):
        model_card.write(check=True)
    assert not (tmp_path / "README.md").exists()
    model_card.write(check=False)
    assert (tmp_path / "README.md").read_text() == model_card.card(tmp_path)
    model_card.write(check=True)


def test_the_committed_card_is_that_of_the_files():
    if not (model_card.FOLDER / model_card.CARD).exists():
        pytest.skip("no model is published yet")
    text = (model_card.FOLDER / model_card.CARD).read_text()
    assert text == model_card.card(model_card.FOLDER), "python -m experiments.model_card writes it"
