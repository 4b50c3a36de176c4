"""Task 2 from photos to a checkpoint that predicts, on drawn faces."""

import dataclasses
import json
import re
import shutil

import jax
import jax.numpy as jnp
import metrics_keys
import numpy as np
import pytest
import tiny_run
from etils import epath
from PIL import Image
from sklearn.linear_model import LogisticRegression

from cifsel import build, workdir
from cifsel import config as config_lib
from cifsel.data import drawn_faces
from cifsel.errors import UserError
from cifsel.evaluation import features
from cifsel.models import classifier
from cifsel.prediction import predictor, seen, trained_model
from cifsel.selfie import run as run_module
from cifsel.selfie import showing
from cifsel.selfie.protocol import pretrained
from cifsel.selfie.run import evaluate_and_train
from cifsel.workdir import summaries
from cifsel.workdir.checkpoints import Checkpoints
from cifsel.workdir.model_meta import ClassifierMeta
from configs import effnet
from configs import selfie as selfie_config

pytestmark = pytest.mark.slow
MODEL, SIZE = "efficientnetv2-mini", 64
QUICK = {
    "image_size": SIZE,
    "layers": "choose",
    "depths": (0.5, 1.0),
    "grids": (1, 3),
    "l2": (1e-3, 1e-1),
    "repeats": 2,
    "permutations": 4,
    "compare_crops": False,  # Looking for drawn faces takes seconds.
}
# Repeated cross-validation of the probe alone.
LEAST = {"permutations": 0, "leave_one_out": 0}
# In a report with photos: each photo with its evidence, and the scale of the evidence.
PICTURES = 2 * 16 + 1


@pytest.fixture(autouse=True, scope="module")
def tiny_network(build_tiny):
    """In place of the real one, wherever it is built."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (build, classifier, pretrained):
            patch.setattr(module, "build", build_tiny)
        yield


@pytest.fixture(scope="module")
def task1(variables_of, tiny_network, tmp_path_factory):
    """A comparison's folder, with the workdir of a run of task 1 below."""
    folder = tmp_path_factory.mktemp("task1")
    config = effnet.get_config()
    config.update({"model": MODEL, "image_size": SIZE})
    meta = ClassifierMeta(
        config=config_lib.to_json(config),
        class_names=tuple(f"class_{i}" for i in range(7)),
        coarse_names=("all",),
        coarse_of=(0,) * 7,
        image_side=32,
        fingerprint="0",
        weights=None,
    )
    variables = variables_of(classifier.build(MODEL, num_classes=7), SIZE)
    with Checkpoints(epath.Path(folder / "run")) as saved:
        saved.save(3, model=variables, meta=meta.to_json())
    (folder / "best.json").write_text(json.dumps({"run": "run", "model": MODEL}))
    return folder


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Eight happy and eight sad faces as files."""
    folder = tmp_path_factory.mktemp("faces")
    drawn = drawn_faces.draw_faces(per_class=8)
    for name, image in zip(drawn.names, drawn.images, strict=True):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / name)
    return folder


def settings(task1, folder, /, **fields):
    config = selfie_config.get_config()
    config.update(QUICK | {"photos": str(folder), "init_from": str(task1)} | fields)
    return config


def run(config, folder):
    return evaluate_and_train(config, str(folder), summaries.Summaries())


@pytest.fixture
def no_curve(monkeypatch):
    """Without the learning curve, which takes as long as all else."""
    monkeypatch.setattr(run_module, "run_learning_curve", lambda *_: ())


@pytest.fixture
def without_report(no_curve, monkeypatch):
    monkeypatch.setattr(run_module, "write_report", lambda *_: None)


@pytest.fixture
def without_charts(no_curve, monkeypatch):
    """The report has photos, but its charts are not drawn."""
    tiny_run.leave_out_drawing(monkeypatch)


@pytest.fixture(scope="module")
def finished(task1, faces, tmp_path_factory):
    """A run with other weights in place of ImageNet's, which are not published for this model."""
    folder, own = tmp_path_factory.mktemp("selfie"), restored(task1)
    others = jax.tree.map(lambda x: x + 0.1, own.variables)
    imagenet = dataclasses.replace(own, name=pretrained.IMAGENET, variables=others)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "_imagenet", lambda *_: imagenet)
        return folder, run(settings(task1, faces), folder)


def restored(task1):
    """The backbone of task 1."""
    return pretrained.pretrained_backbones(
        str(task1), imagenet_model=MODEL, weights_dir=None, image_size=SIZE, compare=False
    )[0]


def test_what_is_returned_is_on_disk_and_complete(finished):
    folder, metrics = finished
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert metrics["photos"]["per_class"] == {"happy": 8, "sad": 8}
    assert metrics["photos"]["group_count"] == 16
    names = [candidate["name"] for candidate in metrics["candidates"]]
    assert names == ["task-1 checkpoint, probe", "ImageNet weights, probe"]
    assert [own["against"] for own in metrics["differences"]] == names[1:]
    for candidate in metrics["candidates"]:
        for score in filter(None, (candidate["leave_one_out"], candidate["kfold"])):
            rows = np.asarray(score["probabilities"])
            np.testing.assert_allclose(rows.sum(1), 1, atol=1e-4)
            assert np.sum(score["confusion"]) == pytest.approx(16)
            low, high = score["accuracy_interval"]
            assert low <= score["accuracy"] <= high
        assert sum(choice["share"] for choice in candidate["choices"]) == pytest.approx(1)
    alone = metrics["candidates"][0]["leave_one_out"]
    right = (np.asarray(alone["probabilities"]).argmax(1) == metrics["photos"]["labels"]).sum()
    assert alone["right"] == right
    assert f"{right} of 16 photos right" in metrics["sentence"]
    assert len(metrics["permutation"]["accuracies"]) == 4


def test_metrics_have_these_keys_in_this_order(finished):
    folder, _ = finished
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {*metrics_keys.objects(metrics)} == {*metrics_keys.KEYS.items()}


def test_report_shows_no_photo_unless_asked(finished):
    folder, _ = finished
    assert "<img" not in (folder / "report.html").read_text()
    assert not [path for path in folder.glob("figures/*") if path.stem == "photos"]
    assert {path.suffix for path in folder.rglob("*")} <= {"", ".json", ".html", ".md", ".png"} | {
        path.suffix for path in (folder / "checkpoints").rglob("*")
    }


def test_checkpoint_is_enough_by_itself_and_has_the_head_that_was_chosen(
    finished, task1, faces, tmp_path, monkeypatch
):
    folder, metrics = finished
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder / "checkpoints", moved / "checkpoints")
    monkeypatch.setenv("CIFSEL_WEIGHTS", str(tmp_path))
    made = predictor.load(str(moved))
    assert made.class_names == ("happy", "sad")
    sure = metrics["final"]["sure"]
    assert made.sure_from == (sure and sure["least"])
    drawn = drawn_faces.draw_faces(per_class=8)
    shown = made.show(drawn.images, drawn.names)
    # The same by other means: scikit-learn on the chosen features, scaled as the penalty expects.
    final, trained = metrics["final"], trained_model.restore(epath.Path(task1 / "run"))
    places = [(layer, final["grid"]) for layer in final["layers"]]
    cells = features.cells(trained.model, features.View(SIZE, "bicubic", mirror=True), places)
    x = np.asarray(cells(trained.variables, jnp.asarray(shown)), np.float64)
    x -= x.mean(0)
    x /= np.sqrt((x**2).sum(1).mean())
    # One vector here, two that are each other's opposite there: half the penalty.
    peer = LogisticRegression(C=2 / (final["l2"] * len(x)), tol=1e-8, max_iter=10_000)
    margin = peer.fit(x, drawn.labels).decision_function(x) / final["temperature"]
    expected = 1 / (1 + np.exp(-margin))
    assert expected.std() > 0.02
    np.testing.assert_allclose(made.probabilities(shown)[:, 1], expected, atol=2e-3)


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


def test_given_again_it_is_finished_and_another_config_is_refused(finished, task1, faces):
    folder, metrics = finished
    assert run(settings(task1, faces), folder) == metrics
    assert run(settings(f"{task1}/", f"{faces}/."), folder) == metrics
    with pytest.raises(UserError, match="another config"):
        run(settings(task1, faces, repeats=3), folder)


@pytest.mark.usefixtures("without_charts")
def test_save_photos_of_a_finished_run_makes_its_report_again(
    finished, task1, faces, tmp_path, monkeypatch
):
    folder, metrics = tmp_path / "again", finished[1]
    shutil.copytree(finished[0], folder)
    before = (folder / "metrics.json").read_bytes()
    for save_photos, pictures in ((True, PICTURES), (False, 0)):
        found = run(settings(task1, faces, save_photos=save_photos), folder)
        assert found == metrics
        assert (folder / "report.html").read_text().count("<img") == pictures
        assert (folder / "figures" / "photos.png").exists() == save_photos
    assert (folder / "metrics.json").read_bytes() == before
    decoded = showing.read_photos(str(faces), skip_unreadable=False)
    images = (decoded.images[0][:, ::-1], *decoded.images[1:])
    others = dataclasses.replace(decoded, images=images)
    monkeypatch.setattr(showing, "read_photos", lambda *_, **__: others)
    with pytest.raises(UserError, match=f"not those of the run in .*such as {decoded.names[0]}"):
        run(settings(task1, faces, save_photos=True), folder)


def test_photos_of_training_are_told_with_their_held_out_answers(finished, faces):
    """Under other names too, but not in other pixels."""
    folder, metrics = finished
    made = predictor.load(str(folder))
    assert len(made.seen) == 16
    chosen = metrics["candidates"][0]
    held_out = (chosen["leave_one_out"] or chosen["kfold"])["probabilities"]
    image = np.asarray(Image.open(faces / metrics["photos"]["names"][3]).convert("RGB"))
    match = seen.find(image, made.seen)
    assert (list(match.photo.held_out), match.exact) == (held_out[3], True)
    smaller = np.asarray(Image.fromarray(image).resize((150, 150)))
    assert seen.find(smaller, made.seen) == seen.Match(match.photo, exact=False)
    assert seen.find(image[::-1], made.seen) is None
    assert seen.find(image, ()) is None
    with Checkpoints(epath.Path(folder), read_only=True) as saved:
        assert len(json.dumps(saved.meta()["seen"])) < 16 * 150


def test_photos_unlike_those_of_training_are_marked(finished, faces):
    folder, metrics = finished
    made = predictor.load(str(folder))
    assert made.unlike_from == metrics["final"]["unlike_from"]
    drawn = drawn_faces.draw_faces(per_class=8)
    shown = made.show(drawn.images, drawn.names)
    probabilities, unlike = made.judged(shown)
    # Those of training are nearer than each was when it was held out.
    assert not unlike.any()
    np.testing.assert_allclose(probabilities, made.probabilities(shown))
    noise = np.random.default_rng(0).integers(0, 2, shown[:3].shape).astype(np.uint8) * 255
    assert made.judged(noise)[1].all()


def test_checkpoint_of_other_photos_is_not_kept(finished, task1, faces, tmp_path, no_curve):
    shutil.copytree(finished[0] / "checkpoints", tmp_path / "checkpoints")
    with pytest.raises(UserError, match=r"another run than this run \(.*permutations: 4 -> 0"):
        run(settings(task1, faces, **LEAST), tmp_path)


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


def test_same_seed_gives_the_same_result(finished, task1, faces, tmp_path, without_report):
    _, metrics = finished
    again = run(settings(task1, faces), tmp_path)
    assert again["candidates"][0] == metrics["candidates"][0]
    assert again["permutation"] == metrics["permutation"]


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


def test_a_run_of_task_2_is_no_start_for_another(finished, faces, tmp_path):
    folder, _ = finished
    with pytest.raises(UserError, match=re.escape(str(folder))):
        run(settings(folder, faces), tmp_path)
