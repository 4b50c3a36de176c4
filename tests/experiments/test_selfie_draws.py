"""Draws of few photos, and photos that are changed to see whether faces are found."""

import types

import numpy as np
import pytest
from PIL import Image

from cifsel.models import classifier
from cifsel.selfie.protocol.logistic import RotatedFeatures
from cifsel.selfie.protocol.pretrained import PretrainedBackbone
from experiments import faces, selfie_draws, selfie_tuning

LABELS = np.repeat([0, 1], 15).astype(np.int32)
# Two photos of one person in each class, and one person in both.
GROUPS = np.arange(30)
GROUPS[[1, 16, 20]] = 0, 15, 5
POOL = types.SimpleNamespace(photos=types.SimpleNamespace(labels=LABELS), groups=GROUPS)


def test_draws_take_as_many_of_each_class_and_test_on_other_people():
    seen = set()
    for chosen, tested in selfie_draws.draws(POOL, 12, 20):
        assert np.bincount(LABELS[chosen]).tolist() == [6, 6]
        assert not set(GROUPS[chosen]) & set(GROUPS[tested])
        others = ~np.isin(GROUPS, GROUPS[chosen])
        np.testing.assert_array_equal(tested, others)
        seen.add(tuple(np.flatnonzero(chosen)))
    assert len(seen) == 20


def test_coordinates_are_those_of_the_chosen_photos_alone():
    features = np.random.default_rng(0).normal(size=(30, 50)).astype(np.float32)
    everything = RotatedFeatures.of(features).points[None]
    chosen, _ = next(selfie_draws.draws(POOL, 12, 1))
    alone = RotatedFeatures.of(features[chosen]).points
    (scaled,) = selfie_draws.rescaled(everything, chosen)
    np.testing.assert_allclose(scaled[chosen] @ scaled[chosen].T, alone @ alone.T, atol=1e-4)


@pytest.mark.slow
def test_a_signal_is_found_in_photos_of_others_and_shuffled_labels_find_nothing():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 40)) + 1.2 * LABELS[:, None] * rng.normal(size=40)
    points = RotatedFeatures.of(features.astype(np.float32)).points[None]
    for shuffled in (False, True):
        accuracies = []
        for number, parts in enumerate(selfie_draws.draws(POOL, 12, 6)):
            labels = LABELS.copy()
            if shuffled:
                labels[parts[0]] = np.random.default_rng(number).permutation(labels[parts[0]])
            result = selfie_draws.result_of(points, POOL, selfie_draws.AVERAGE, parts, labels)
            accuracies.append(result.accuracy)
            assert 0.5 <= result.confidence <= 1
        assert np.mean(accuracies) > 0.9 or (shuffled and 0.3 < np.mean(accuracies) < 0.7)


@pytest.mark.slow
@pytest.mark.parametrize("method", selfie_tuning.METHODS.values(), ids=selfie_tuning.METHODS)
def test_both_classifiers_tell_others_apart_by_the_labels_of_the_draw_alone(method, variables_of):
    model = classifier.build("efficientnetv2-mini", num_classes=2)
    variables = variables_of(model, 32)
    backbone = PretrainedBackbone("random", "", "efficientnetv2-mini", 1.0, model, variables, 32)
    rng = np.random.default_rng(0)
    images = tuple(
        rng.integers(60 * label, 60 * label + 190, (32, 32, 3), np.uint8) for label in LABELS
    )
    names = tuple(map(str, range(30)))
    photos = types.SimpleNamespace(images=images, labels=LABELS, names=names)
    pool = types.SimpleNamespace(photos=photos, groups=GROUPS)
    shown = selfie_tuning.Shown.of(pool, backbone, "none")
    assert shown.last.shape == (1, 30, 30)
    chosen, tested = next(selfie_draws.draws(pool, 12, 1))
    answers = method(shown, pool, chosen)
    others = types.SimpleNamespace(labels=np.where(chosen, LABELS, 1 - LABELS))
    unknown = types.SimpleNamespace(photos=others, groups=GROUPS)
    np.testing.assert_array_equal(method(shown, unknown, chosen), answers)
    assert selfie_tuning.Score.of(answers[tested], LABELS[tested]).accuracy > 0.6


CHANGES = [
    faces.turned(20),
    faces.turned(-45),
    faces.squeezed,
    faces.close,
    faces.dark,
    faces.pasted([np.zeros((90, 120, 3), np.uint8)], 0.5),
]


@pytest.mark.parametrize("change", CHANGES)
def test_points_are_moved_as_the_photo_is(change):
    picture = Image.new("RGB", (96, 80))
    picture.paste((255, 255, 255), (50, 24, 56, 30))
    changed, move = change(picture)
    bright = np.asarray(changed.convert("L"), float)
    rows, columns = np.mgrid[: bright.shape[0], : bright.shape[1]] + 0.5
    found = np.array([(columns * bright).sum(), (rows * bright).sum()]) / bright.sum()
    (expected,) = move(np.array([(53.0, 27.0)]))
    np.testing.assert_allclose(found, expected, atol=0.6)
