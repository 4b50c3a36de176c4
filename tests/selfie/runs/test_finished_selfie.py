"""A finished run of task 2: its files, its checkpoint, and starting it again."""

import dataclasses
import json
import re
import shutil

import jax
import jax.numpy as jnp
import metrics_keys
import numpy as np
import pytest
from etils import epath
from PIL import Image
from sklearn.linear_model import LogisticRegression
from tiny_selfie import LEAST, PICTURES, SIZE, restored, run, settings

from cifsel.data import drawn_faces
from cifsel.errors import UserError
from cifsel.evaluation import features
from cifsel.prediction import predictor, seen, trained_model
from cifsel.selfie import showing
from cifsel.selfie.protocol import pretrained
from cifsel.workdir.checkpoints import Checkpoints

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(task1, faces, tmp_path_factory):
    """A run with other weights in place of ImageNet's, which are not published for this model."""
    folder, own = tmp_path_factory.mktemp("selfie"), restored(task1)
    others = jax.tree.map(lambda x: x + 0.1, own.variables)
    imagenet = dataclasses.replace(own, name=pretrained.IMAGENET, variables=others)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "_imagenet", lambda *_: imagenet)
        return folder, run(settings(task1, faces), folder)


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


def test_same_seed_gives_the_same_result(finished, task1, faces, tmp_path, without_report):
    _, metrics = finished
    again = run(settings(task1, faces), tmp_path)
    assert again["candidates"][0] == metrics["candidates"][0]
    assert again["permutation"] == metrics["permutation"]


def test_a_run_of_task_2_is_no_start_for_another(finished, faces, tmp_path):
    folder, _ = finished
    with pytest.raises(UserError, match=re.escape(str(folder))):
        run(settings(folder, faces), tmp_path)
