"""The record of growth has what its picture and table show."""

import json
import time

import numpy as np
import pytest

from experiments.bench import growth


def test_the_power_of_a_square_is_two():
    assert growth.power({1: 9.0, 10: 1.0, 20: 4.0, 40: 16.0}) == pytest.approx(2)


def test_a_record_has_every_time_and_is_drawn(monkeypatch, tmp_path):
    counts = {growth.IMAGES: (12, 24, 36), growth.PHOTOS: (10, 11, 12)}
    work = {
        name: (counts[own], lambda count: lambda: time.sleep(count * 1e-5))
        for name, (own, _) in growth.WORK.items()
    }
    monkeypatch.setattr(growth, "WORK", work)
    monkeypatch.setattr(growth, "IMAGES", counts[growth.IMAGES])
    monkeypatch.setattr(growth, "PHOTOS", counts[growth.PHOTOS])
    growth.measure(tmp_path / "growth.json")
    results = json.loads((tmp_path / "growth.json").read_text())["results"]
    for name, (own, _) in work.items():
        seconds = growth.seconds_of(results, name)
        assert tuple(seconds) == own
        assert all(value >= count * 1e-5 for count, value in seconds.items())
    assert [len(axes.lines) for axes in growth.draw(results).axes] == [2, 3]


@pytest.mark.slow
def test_each_kind_of_work_can_be_done(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (36, 32, 32, 3), np.uint8)
    monkeypatch.setattr(growth, "_cifar", lambda: np.concatenate([images, images]))
    assert len(growth.search_copies(72)()) == 36
    assert len(growth.search_twins(72)()) == 12
    assert growth.protocol(12, "crossval")().probabilities.shape == (50, 12, 2)
    assert growth.protocol(12, "permutation")().accuracies.shape == (100,)
    assert growth.protocol(12, "curve")()[-1].photos == pytest.approx(12 * 0.8, abs=0.5)
