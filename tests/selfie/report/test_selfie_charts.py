"""Figures of task 2 say what the numbers say, and fit."""

import itertools
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from cifsel.reports import style
from cifsel.selfie.protocol.learning_curve import CurvePoint
from cifsel.selfie.protocol.permutation import PermutationTest
from cifsel.selfie.report import charts, curves
from cifsel.selfie.report.charts import Estimate

LONG = "ImageNet weights, the lower part of the face, moved and grey, by a probe of many layers"
SVG = "{http://www.w3.org/2000/svg}"


def texts(figure):
    """Everything that can be read in the figure."""
    root = ElementTree.fromstring(style.to_svg(figure, ""))
    return [text.text for text in root.iter(f"{SVG}text")]


def photos(count, classes=2):
    rng = np.random.default_rng(count)
    labels = np.arange(count) % classes
    names = [f"folder/IMG_20260701_{index:06d}_portrait.jpg" for index in range(count)]
    return rng.dirichlet([1.0] * classes, count), labels, names


def estimates(*names):
    return {name: {"leave-one-out": Estimate(0.7, 0.5, 0.85)} for name in names}


CURVE = [CurvePoint(6.5, 0.5, 0.4, 0.6), CurvePoint(19.2, 0.7, 0.6, 0.8)]


def shuffled(accuracies, observed):
    return PermutationTest(0.1, np.asarray(accuracies, float), observed, 0.5, (0.4, 0.6))


FIGURES = {
    "per_photo": lambda: charts.per_photo(*photos(24), ["happy", "sad"]),
    "per_photo_of_many": lambda: charts.per_photo(*photos(90, 3), ["a", LONG[:30], "c"]),
    "accuracies": lambda: charts.accuracies(estimates("a", LONG), 0.5, "a"),
    "confusion": lambda: charts.confusion(np.eye(3) * 7.35, ["happy", "sad", LONG[:40]]),
    "confusion_of_many": lambda: charts.confusion(
        np.ones((12, 12)), [f"class_{index}" for index in range(12)]
    ),
    "learning_curve": lambda: curves.learning_curve(CURVE, 0.5),
    "one_point": lambda: curves.learning_curve(CURVE[:1], 0.5),
    "permutation": lambda: charts.permutation(shuffled([0.5, 0.4, 0.5, 0.6], 0.8)),
    "permutation_of_one": lambda: charts.permutation(shuffled([0.5], 0.5)),
    "choices": lambda: charts.choices({("block5e", 3): 0.75, ("top", 1): 0.25}),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES)
@pytest.mark.slow
def test_all_is_within_the_figure(make):
    figure = make()
    style.to_rgb(figure)
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= width
    assert box.y1 <= height
    for axes in figure.axes:
        (left, right), (bottom, top) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
        for line in axes.lines:
            if line.get_transform() == axes.transData:
                assert all(left <= value <= right for value in line.get_xdata())
                assert all(bottom <= value <= top for value in line.get_ydata())


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES)
@pytest.mark.slow
def test_labels_do_not_cover_each_other(make):
    figure = make()
    style.to_rgb(figure)
    for axes in figure.axes:
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            boxes = [label.get_window_extent() for label in labels if label.get_text()]
            for first, second in itertools.pairwise(boxes):
                assert not first.overlaps(second)


class TestPerPhoto:
    PROBABILITIES = np.array([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.45, 0.55]])
    LABELS = np.array([0, 0, 1, 1])

    def test_the_worst_photo_is_on_top_and_wrong_ones_are_told_apart(self):
        figure = charts.per_photo(
            self.PROBABILITIES, self.LABELS, ["a_a", "b", "c", "d"], ["happy", "sad"]
        )
        (axes,) = figure.axes
        assert [tick.get_text() for tick in axes.get_yticklabels()] == ["b", "d", "c", "a_a"]
        assert axes.get_ylim()[0] > axes.get_ylim()[1]  # The first is on top.
        points = {line.get_marker(): line for line in axes.lines if len(line.get_xdata()) != 2}
        assert sorted(points["o"].get_xdata()) == [0.55, 0.8, 0.9]
        assert (points["X"].get_xdata(), points["X"].get_ydata()) == ([0.3], [0])
        assert {"right: 3 of 4", "wrong: 1 of 4"} <= set(texts(figure))

    def test_with_three_classes_right_is_the_largest_and_not_above_a_half(self):
        probabilities = np.array([[0.4, 0.3, 0.3], [0.2, 0.45, 0.35]])
        figure = charts.per_photo(probabilities, np.array([0, 2]), "ab", "xyz")
        said = texts(figure)
        assert "right: 1 of 2" in said
        dashed = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
        assert dashed[0].get_xdata()[0] == pytest.approx(1 / 3)

    def test_of_many_photos_the_classes_are_named_and_all_are_shown(self):
        count = charts.NAMED + 1
        figure = charts.per_photo(*photos(count), ["happy", "very_sad"])
        (axes,) = figure.axes
        assert [tick.get_text() for tick in axes.get_yticklabels()] == ["happy", "very sad"]
        shown = [line for line in axes.lines if line.get_marker() in ("o", "X")]
        assert sum(len(line.get_xdata()) for line in shown) == count
        rows = np.concatenate([line.get_ydata() for line in shown])
        assert abs(rows - rows.round()).max() < 0.5  # Each is nearest to its own class.

    def test_long_names_keep_what_tells_them_apart(self):
        names = photos(24)[2]
        short = [charts.shortened(name) for name in names]
        assert max(map(len, short)) <= 26
        assert len(set(short)) == 24
        assert charts.shortened("happy/1.png") == "happy/1.png"


def test_accuracies_show_what_is_missing_as_missing():
    both = {"one": Estimate(0.8, 0.6, 0.9), "two": Estimate(0.75, 0.6, 0.85)}
    by_candidate = {"a": both, "b": {"two": Estimate(0.5, 0.3, 0.7)}}
    figure = charts.accuracies(by_candidate, 0.55, "b")
    (axes,) = figure.axes
    markers = [line for line in axes.lines if line.get_marker() in ("o", "s")]
    assert [(line.get_marker(), line.get_xdata()[0]) for line in markers] == [
        ("o", 0.8),
        ("s", 0.75),
        ("s", 0.5),
    ]
    assert {"guessing: 55 %", "b (chosen)", "one", "two"} <= set(texts(figure))


def test_confusion_counts_and_colours():
    figure = charts.confusion(np.array([[9, 3.0], [0, 11.65]]), ["happy", "sad"])
    said = texts(figure)
    assert {"9", "3", "11.7"} <= set(said)
    assert "0" not in said
    colours = [patch.get_facecolor() for patch in figure.axes[0].patches]
    right, wrong, none, _ = colours
    assert right[2] > right[0]  # blue
    assert wrong[0] > wrong[2]  # orange
    assert none[3] == 0
    assert right[3] == pytest.approx(3 * wrong[3])


def test_learning_curve_is_drawn_at_the_number_of_photos():
    figure = curves.learning_curve(CURVE, 0.5)
    line = next(line for line in figure.axes[0].lines if line.get_marker() == "o")
    np.testing.assert_array_equal(line.get_data(), [[6.5, 19.2], [0.5, 0.7]])


@pytest.mark.parametrize("scale", [1, 1 / 24, 1 / 1000])
def test_permutation_counts_every_shuffling(scale):
    values = np.random.default_rng(0).binomial(24, 0.5, 300) * scale
    figure = charts.permutation(shuffled(values, 20 * scale))
    bars = [patch.get_height() for patch in figure.axes[0].patches]
    assert sum(bars) == 300
    assert figure.axes[0].lines[0].get_xdata()[0] == 20 * scale
    if len(np.unique(values)) == len(bars):
        assert sorted(bars) == sorted(np.unique(values, return_counts=True)[1])


def test_choices_go_by_depth_and_leave_what_was_never_chosen_empty():
    shares = {("top", 1): 0.2, ("block10", 3): 0.004, ("block2", 3): 0.796}
    figure = charts.choices(shares)
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["block2", "block10", "top"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1 × 1", "3 × 3"]
    cells = [text for text in texts(figure) if re.search("%", text)]
    assert cells == ["80 %", "< 1 %", "20 %"]
