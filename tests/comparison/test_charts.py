"""Charts show the numbers, whatever the names, and can stand on a dark page."""

import functools
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from cifsel.comparison import charts
from cifsel.comparison.paired import Difference, Estimate
from cifsel.comparison.scores import CoarseComparison
from cifsel.reports import style
from cifsel.reports.layout import Item

LONG = "efficientnetv2-b0, fine-tuned at 224 pixels with everything that augmentation has to offer"
SHORT_NAMES, LONG_NAMES = ("a", "b"), (LONG, LONG[::-1])
A, B = Item("A", 0), Item("B", 1)
SVG = "{http://www.w3.org/2000/svg}"


def item(name):
    """The first item for "a" and its longest name, else the second."""
    return Item(name, int(name not in ("a", LONG)))


def point(name, flops=4e8, speed=100.0, accuracy=0.7):
    return charts.CostPoint(item(name), flops, speed, accuracy, accuracy - 0.02, accuracy + 0.02)


def every_class(seed=0, count=50):
    draw = np.random.default_rng(seed)
    names = [f"class_of_animals_{index}" for index in range(count)]
    return names, draw.integers(40, 101, count) / 100, draw.integers(40, 101, count) / 100


def coarse(name, a, b, interval):
    difference = Difference(a - b, *interval, p=0.5, from_images=0.05, from_seeds=None)
    return CoarseComparison(name, 100, a, b, difference)


def accuracy(seeds, low, high):
    return Estimate(float(np.mean(seeds)), low, high, tuple(seeds), None)


COARSE = [
    coarse("large_omnivores_and_herbivores", 0.7, 0.6, (0.02, 0.18)),
    coarse("fish", 0.5, 0.8, (-0.4, -0.2)),
    coarse("non-insect_invertebrates", 0.61, 0.6, (-0.05, 0.07)),
]
CHARTS = {
    "per_class": lambda a, b: charts.accuracy_by_class(*every_class(), (item(a), item(b))),
    "per_coarse": lambda a, b: charts.accuracy_by_coarse_label(COARSE, (item(a), item(b))),
    "cost": lambda a, b: charts.accuracy_against_cost([point(a), point(b, 6e10, 2.5, 0.8)]),
    "seeds": lambda a, b: charts.accuracy_by_seed(
        {item(a): accuracy([0.7, 0.72, 0.71], 0.68, 0.74), item(b): accuracy([0.6], 0.58, 0.62)}
    ),
}
every_chart = pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)


@functools.cache
def drawn(chart, names):
    """A figure that was rendered once, which places its text."""
    figure = chart(*names)
    return figure, style.to_rgb(figure)


@functools.cache
def svg_of(chart, names):
    return style.to_svg(drawn(chart, names)[0], "Title")


def texts(svg):
    """Everything that can be read in a figure."""
    return [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def lines(axes, colour):
    return [line for line in axes.lines if line.get_color() == colour and len(line.get_xdata())]


@pytest.mark.filterwarnings("error")
@every_chart
@pytest.mark.slow
class TestEveryChart:
    @pytest.mark.parametrize("names", [SHORT_NAMES, LONG_NAMES])
    def test_all_is_within_the_figure_and_names_are_whole(self, chart, names):
        figure, _ = drawn(chart, names)
        assert figure.get_figwidth() == 5.4
        box, width, height = figure.get_tightbbox(), *figure.get_size_inches()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
        text = re.sub(r"\W", "", "".join(texts(svg_of(chart, names))))
        for name in names:
            assert re.sub(r"\W", "", name) in text

    def test_panels_stay_large_whatever_the_names(self, chart):
        short, long = (drawn(chart, names)[0] for names in (SHORT_NAMES, LONG_NAMES))
        for before, after in zip(short.axes, long.axes, strict=True):
            assert after.get_window_extent().height > 0.8 * before.get_window_extent().height

    def test_data_are_within_the_axes(self, chart):
        for axes in drawn(chart, SHORT_NAMES)[0].axes:
            (left, right), (bottom, top) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
            for line in axes.lines:
                if line.get_transform() == axes.transData:
                    x, y = line.get_data()
                    assert all(left <= value <= right for value in x)
                    assert all(bottom <= value <= top for value in y)

    def test_two_candidates_differ_in_colour_and_in_marker(self, chart):
        said = {colour: set() for colour in (style.BLUE, style.ORANGE)}
        for axes in drawn(chart, SHORT_NAMES)[0].axes:
            for line in axes.lines:
                said.get(line.get_color(), set()).add(line.get_marker())
        assert "o" in said[style.BLUE] - said[style.ORANGE]
        assert "s" in said[style.ORANGE] - said[style.BLUE]

    def test_svg_and_pixels_are_the_same_each_time(self, chart):
        again = chart(*SHORT_NAMES)
        np.testing.assert_array_equal(style.to_rgb(again), drawn(chart, SHORT_NAMES)[1])
        assert style.to_svg(again, "Title") == svg_of(chart, SHORT_NAMES)

    def test_svg_has_no_colour_that_a_dark_page_could_not_bear(self, chart):
        svg = re.sub(r"var\(--\w+, #\w{6}\)", "", svg_of(chart, SHORT_NAMES))
        assert set(re.findall(r"#[0-9a-f]{6}\b(?!\w)", svg)) <= {style.GREY.lower()}
        assert "currentColor" in svg
        assert style.INK not in svg


class TestAccuracyByClass:
    def test_counts_and_sides(self):
        a, b = np.array([0.5, 0.6, 0.7, 0.9]), np.array([0.7, 0.8, 0.6, 0.9])
        figure = charts.accuracy_by_class(["w", "x", "y", "z"], a, b, (A, B))
        (axes,) = figure.axes
        assert axes.get_title("left") == "4 classes: 2 above the line, 1 below, 1 on it"
        above, below, on = axes.lines[1:]
        np.testing.assert_array_equal(above.get_xydata(), [[0.5, 0.7], [0.6, 0.8]])
        np.testing.assert_array_equal(below.get_xydata(), [[0.7, 0.6]])
        np.testing.assert_array_equal(on.get_xydata(), [[0.9, 0.9]])
        assert above.get_label() == "above: B better"
        assert above.get_color() == style.ORANGE  # B's
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("accuracy of A", "accuracy of B")
        assert {note.get_text() for note in axes.texts} == {"w", "x", "y"}

    def test_no_tick_is_above_all(self):
        a, b = np.array([0.985, 0.953]), np.array([1.0, 0.94])
        (axes,) = charts.accuracy_by_class(["ants", "bees"], a, b, (A, B)).axes
        assert max(axes.get_xticks()) == max(axes.get_yticks()) == pytest.approx(1)

    def test_the_panel_is_square(self):
        figure = charts.accuracy_by_class(*every_class(), (A, B))
        style.to_rgb(figure)
        box = figure.axes[0].get_window_extent()
        assert box.width == pytest.approx(box.height, rel=1e-3)
        assert figure.axes[0].get_xlim() == figure.axes[0].get_ylim()

    @pytest.mark.parametrize("seed", range(3))
    def test_the_farthest_are_named_upon_nothing_else(self, seed):
        names, a, b = every_class(seed)
        figure = charts.accuracy_by_class(names, a, b, (A, B))
        style.to_rgb(figure)
        axes = figure.axes[0]
        far = np.sort(np.abs(a - b))[-8]
        assert len(axes.texts) == 8
        boxes = []
        for note in axes.texts:
            index = int(note.get_text().split()[-1])
            assert note.get_text() == f"class of animals {index}"
            assert abs(a[index] - b[index]) >= far
            assert tuple(note.xy) == (a[index], b[index])
            boxes.append(super(type(note), note).get_window_extent())
        dots = axes.transData.transform(np.stack([a, b], axis=1))
        frame = axes.get_window_extent()
        for number, box in enumerate(boxes):
            assert not box.count_overlaps(boxes[:number])
            assert not any(box.contains(*dot) for dot in dots)
            assert frame.count_contains(box.corners()) == 4

    def test_equal_models_have_no_class_to_name(self):
        same = np.full(3, 0.5)
        figure = charts.accuracy_by_class(["x", "y", "z"], same, same, (A, B))
        assert not figure.axes[0].texts
        style.to_rgb(figure)


class TestAccuracyByCoarseLabel:
    def test_rows_are_sorted_and_say_both_accuracies_and_the_interval(self):
        figure = charts.accuracy_by_coarse_label(COARSE, (A, B))
        left, right = figure.axes
        labels = [tick.get_text().replace("\n", " ") for tick in left.get_yticklabels()]
        ordered = ["large omnivores and herbivores", "non-insect invertebrates", "fish"]
        assert labels == ordered
        assert left.get_ylim()[0] > left.get_ylim()[1]  # the first on top
        np.testing.assert_allclose(
            [line.get_xydata()[0] for line in lines(left, style.BLUE)],
            [[0.7, 0], [0.61, 1], [0.5, 2]],
        )
        np.testing.assert_allclose(
            [line.get_xydata()[0] for line in lines(left, style.ORANGE)],
            [[0.6, 0], [0.6, 1], [0.8, 2]],
        )
        bars = [line for line in right.lines if len(line.get_xdata()) == 2][:3]
        np.testing.assert_allclose(
            [line.get_xdata() for line in bars], [[0.02, 0.18], [-0.05, 0.07], [-0.4, -0.2]]
        )
        colours = [line.get_color() for line in bars]
        assert colours == [style.BLUE, style.INK, style.ORANGE]
        assert [line for line in right.lines if list(line.get_xdata()) == [0, 0]]

    def test_differences_are_in_points(self):
        right = charts.accuracy_by_coarse_label(COARSE, (A, B)).axes[1]
        assert right.xaxis.get_major_formatter()(-0.05) == "-5"


class TestAccuracyAgainstCost:
    def test_accuracy_over_both_costs(self):
        figure = charts.accuracy_against_cost(
            [point("a", 4.7e8, 50.0, 0.72), point("b", 2.6e8, 260.0, 0.6)]
        )
        for axes, places in zip(figure.axes, ((0.47, 0.26), (50, 260)), strict=True):
            dots = [line for line in axes.lines if line.get_marker() in "os"]
            assert axes.get_xscale() == "log"
            np.testing.assert_allclose(
                [line.get_xydata()[0] for line in dots], list(zip(places, (0.72, 0.6), strict=True))
            )
            bars = [line for line in axes.lines if line not in dots]
            np.testing.assert_allclose(
                [line.get_ydata() for line in bars], [[0.7, 0.74], [0.58, 0.62]]
            )

    @pytest.mark.parametrize("low", [0.011, 4.9, 1234.5])
    @pytest.mark.parametrize("span", [1, 1.7, 5000])
    def test_ticks_are_at_least_two_round_and_apart(self, low, span):
        figure = charts.accuracy_against_cost(
            [point("a", low * 1e9, low), point("b", low * span * 1e9, low * span)]
        )
        style.to_rgb(figure)
        for axes in figure.axes:
            labels = [tick for tick in axes.get_xticklabels(which="both") if tick.get_text()]
            values = [float(tick.get_text()) for tick in labels]
            assert 2 <= len(values) <= 3
            np.testing.assert_allclose(axes.get_xticks(), values)
            assert {f"{value:e}"[0] for value in values} <= {"1", "2", "5"}
            assert axes.get_xlim()[0] <= values[0]
            assert values[-1] <= axes.get_xlim()[1]
            boxes = [tick.get_window_extent() for tick in labels]
            for number, box in enumerate(boxes):
                assert not box.count_overlaps(boxes[:number])


class TestAccuracyBySeed:
    def test_every_seed_is_a_dot_beside_mean_and_interval(self):
        figure = charts.accuracy_by_seed(
            {A: accuracy([0.7, 0.7, 0.76], 0.6, 0.8), B: accuracy([0.5], 0.4, 1.0)}
        )
        (axes,) = figure.axes
        interval, mean, dots = lines(axes, style.BLUE)
        np.testing.assert_allclose(interval.get_xydata(), [[0.6, 0], [0.8, 0]])
        np.testing.assert_allclose(mean.get_xydata(), [[0.72, 0]])
        np.testing.assert_array_equal(dots.get_xdata(), [0.7, 0.7, 0.76])
        assert dots.get_fillstyle() == "none"
        assert not set(dots.get_ydata()) & {0.0, 1.0}
        labels = [tick.get_text() for tick in axes.get_yticklabels()]
        assert labels == ["A\n72.0 %, 3 seeds", "B\n50.0 %, 1 seed"]

    def test_forty_candidates_all_look_different(self):
        items = [Item(str(number), number) for number in range(40)]
        figure = charts.accuracy_by_seed(dict.fromkeys(items, accuracy([0.5], 0.4, 0.6)))
        means = [line for line in figure.axes[0].lines if line.get_markersize() == 9]
        assert len({(line.get_color(), line.get_marker()) for line in means}) == 40
