"""Runs of task 2 with other settings: layers, weights, groups, and mistakes."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from sklearn.linear_model import LogisticRegression
from tiny_selfie import LEAST, MODEL, PICTURES, SIZE, restored, run, settings

from cifsel import workdir
from cifsel.data import drawn_faces
from cifsel.errors import UserError
from cifsel.evaluation import features
from cifsel.prediction import predictor, trained_model
from cifsel.selfie.protocol import pretrained

pytestmark = pytest.mark.slow


def test_the_mean_of_layers_is_one_head_on_all_of_them(task1, faces, tmp_path, without_report):
    """By default: the logits of scikit-learn on each layer alone, averaged."""
    fields = {"layers": "average", "depths": (0.0, 1.0), "grid": 2, "penalty": 0.03}
    metrics = run(settings(task1, faces, **fields, **LEAST), tmp_path)
    final, candidate = metrics["final"], metrics["candidates"][0]
    assert (final["layers"], final["grid"], final["l2"]) == (["first", "second"], 2, 0.03)
    assert [choice["share"] for choice in candidate["choices"]] == [1.0]
    made, trained = predictor.load(str(tmp_path)), trained_model.restore(epath.Path(task1 / "run"))
    drawn = drawn_faces.draw_faces(per_class=8)
    shown, margins = made.show(drawn.images, drawn.names), []
    for layer in final["layers"]:
        view = features.View(SIZE, "bicubic", mirror=True)
        cells = features.cells(trained.model, view, [(layer, 2)])
        x = np.asarray(cells(trained.variables, jnp.asarray(shown)), np.float64)
        x -= x.mean(0)
        x /= np.sqrt((x**2).sum(1).mean())
        peer = LogisticRegression(C=2 / (0.03 * len(x)), tol=1e-8, max_iter=10_000)
        margins.append(peer.fit(x, drawn.labels).decision_function(x))
    expected = 1 / (1 + np.exp(-np.mean(margins, axis=0) / final["temperature"]))
    assert expected.std() > 0.02
    np.testing.assert_allclose(made.probabilities(shown)[:, 1], expected, atol=2e-3)


def test_backbone_that_still_has_imagenets_weights_is_compared_with_nothing(
    task1, monkeypatch, capsys
):
    own = restored(task1)
    others = {"same": own, "other": dataclasses.replace(own, variables=jax.tree.map(
        lambda x: x + 1, own.variables))}  # fmt: skip
    for kind, expected in (("same", 1), ("other", 2)):
        monkeypatch.setattr(pretrained, "_imagenet", lambda *_, kind=kind: others[kind])
        found = pretrained.pretrained_backbones(
            str(task1), imagenet_model=MODEL, weights_dir=None, image_size=SIZE
        )
        assert len(found) == expected
    assert capsys.readouterr().out.count("has these very weights") == 1
    monkeypatch.setattr(pretrained, "_imagenet", pytest.fail)
    alone = pretrained.pretrained_backbones(
        str(task1), imagenet_model=MODEL, weights_dir=None, image_size=SIZE, compare=False
    )
    assert len(alone) == 1


def test_copies_are_held_out_together_and_two_labels_for_one_are_told(
    task1, faces, tmp_path, without_report
):
    photos = tmp_path / "photos"
    shutil.copytree(faces, photos)
    shutil.copy(photos / "happy" / "1.png", photos / "sad" / "8.png")
    shutil.copy(photos / "happy" / "2.png", photos / "happy" / "8.png")
    metrics = run(settings(task1, photos, **LEAST), tmp_path / "run")
    groups = dict(zip(metrics["photos"]["names"], metrics["photos"]["groups"], strict=True))
    assert groups["happy/1.png"] == groups["sad/8.png"]
    assert groups["happy/2.png"] == groups["happy/8.png"]
    assert metrics["photos"]["group_count"] == 14
    assert len(metrics["notes"]) == 2
    assert any("in two classes (happy and sad)" in note for note in metrics["notes"])


@pytest.mark.usefixtures("without_charts")
def test_people_are_held_out_together_and_save_photos_adds_them(task1, faces, tmp_path, capsys):
    """In a run of nothing but repeated cross-validation."""
    people = tmp_path / "people.csv"
    rows = [f"happy/{i}.png,{'anna' if i < 4 else f'nobody{i}'}" for i in range(1, 9)]
    people.write_text("\n".join(["photo,person", *rows]))
    config = settings(task1, faces, people_csv=str(people), save_photos=True, **LEAST)
    metrics = run(config, tmp_path / "run")
    assert metrics["permutation"] is None
    assert metrics["candidates"][0]["leave_one_out"] is None
    assert "cross-validation" in metrics["sentence"]
    assert (tmp_path / "run" / "report.html").read_text().count("<img") == PICTURES
    assert "pictures of the photos are written" in capsys.readouterr().out
    groups = dict(zip(metrics["photos"]["names"], metrics["photos"]["groups"], strict=True))
    assert len({groups[f"happy/{i}.png"] for i in (1, 2, 3)}) == 1
    assert metrics["photos"]["group_count"] == 14


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"photos": ""}, ["config.photos", "sub-folder for each class"]),
        ({"init_from": ""}, ["config.init_from", "imagenet"]),
        ({"init_from": "/nowhere"}, ["/nowhere", "is not there"]),
        ({"photos": "/nowhere"}, ["/nowhere", "no such folder"]),
        ({"crop": "nose"}, ["config.crop", "'nose'", "none, face, expression"]),
        ({"layers": "mean"}, ["config.layers", "'mean'", "average, choose"]),
        ({"hold_out": "days"}, ["hold_out", "16 of 16 photos do not say when"]),
        ({"grids": ()}, ["config.grids"]),
        ({"l2": (0.0,)}, ["config.l2", "1e-06"]),
        ({"folds": 1}, ["config.folds", "3 to 20"]),
        ({"image_size": 8}, ["config.image_size"]),
        ({"permutations": 1}, ["config.permutations", "0 for none or 2 to"]),
        ({"people_csv": "a", "people_pattern": "(b)"}, ["config.people_pattern"]),
        ({"people_pattern": "/(a)"}, ["/(a)", "matches none"]),
        ({"people_pattern": "^(happy|sad)"}, ["'happy'", "1 occasion or person", "4 or more"]),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(task1, faces, tmp_path, fields, words):
    folder = tmp_path / "run"
    with pytest.raises(UserError) as caught:
        run(settings(task1, faces, **fields), folder)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    assert not (folder / workdir.CONFIG).exists()
