"""Exports in int8: they need validation images, and may not cost much accuracy."""

from types import SimpleNamespace

import numpy as np
import pytest

from cifsel import build
from cifsel.errors import UserError
from cifsel.evaluation import features
from cifsel.prediction.exports import int8, metadata


def test_int8_needs_the_validation_images(tiny_selfie, tiny_task1, monkeypatch):
    described = metadata.of(tiny_selfie, "onnx")
    with pytest.raises(UserError, match="a classifier of own photos has none"):
        int8.quantize(b"", tiny_selfie, described)
    source = tiny_task1(features.View(32, "bicubic", mirror=False), 20)

    def fail(_):
        raise UserError("no such folder")

    monkeypatch.setattr(build, "dataset", fail)
    with pytest.raises(UserError, match=r"cannot be had \(no such folder\)"):
        int8.quantize(b"", source, described)
    monkeypatch.setattr(build, "dataset", lambda _: SimpleNamespace(fingerprint="another"))
    with pytest.raises(UserError, match="the data are others now"):
        int8.quantize(b"", source, described)


def test_int8_may_cost_less_than_three_thousandths(tiny_task1, monkeypatch):
    source = tiny_task1(features.View(32, "bicubic", mirror=False), 20)
    val = SimpleNamespace(images=np.zeros((1000, 20, 20, 3), np.uint8), labels=np.arange(1000) % 3)
    dataset = SimpleNamespace(fingerprint="of data", val=val)
    monkeypatch.setattr(build, "dataset", lambda _: dataset)
    monkeypatch.setattr(int8, "_quantised", lambda *_: b"after")

    def answer(right):
        """Right for that many of the images."""

        def answers(images):
            start = answers.done
            answers.done += len(images)
            labels = np.arange(start, answers.done) % 3
            return np.eye(3)[np.where(np.arange(start, answers.done) < right, labels, labels - 1)]

        answers.done = 0
        return answers

    for right, refused in ((898, False), (897, True)):
        files = {b"before": answer(900), b"after": answer(right)}
        monkeypatch.setattr(int8.onnx_format, "answers", files.__getitem__)
        if refused:
            with pytest.raises(UserError, match=r"from 90\.0 to 89\.7 %"):
                int8.quantize(b"before", source, metadata.of(source, "onnx"))
        else:
            made = int8.quantize(b"before", source, metadata.of(source, "onnx"))
            assert (made.before, made.after, made.content) == (0.9, 0.898, b"after")
