"""Figures of a run show the numbers, and their texts stay apart."""

import itertools

import numpy as np
import pytest

from cifsel.evaluation import split_score
from cifsel.evaluation.split_score import ClassScore
from cifsel.reports import figures, style
from cifsel.reports.layout import Item

# Alphabetical, as in the data. Grouped they are cod, eel, ant, bee.
NAMES = ("ant", "bee", "cod_fish", "eel")
COARSE = ("fish", "insects")
COARSE_OF = np.array([1, 1, 0, 0], np.int32)
COUNTS = np.array([[6, 2, 2, 0], [0, 5, 0, 0], [0, 1, 3, 0], [0, 0, 0, 0]])


ITEM = Item("a", 0)


def labels(ticks):
    return [tick.get_text() for tick in ticks]


class TestImageGrid:
    @pytest.mark.parametrize(("size", "scale"), [(32, 4), (20, 6), (128, 1), (200, 1)])
    def test_every_pixel_is_shown_as_a_block_of_its_own_colour(self, size, scale):
        images = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
        captions = ["one", "two\nlines", ""]
        rgb = style.to_rgb(figures.image_grid(images, captions, columns=2, title="Grid"))
        places = [find(rgb, image.repeat(scale, 0).repeat(scale, 1)) for image in images]
        (top, left), (right_top, right_left), (below_top, below_left) = places
        assert right_top == top
        assert right_left >= left + size * scale
        assert below_left == left
        assert below_top >= top + size * scale + 20  # two lines of caption fit between

    def test_captions_and_verdicts(self):
        captions, verdicts = ["tiger\n✓ 97 %", "fish\n✗ polar bear 50 %"], ["right", "wrong"]
        grid = figures.image_grid(np.zeros((2, 8, 8, 3), np.uint8), captions, verdicts)
        shown = {text.get_text(): text.get_color() for text in grid.texts}
        assert shown[captions[0]] == style.GREEN
        assert shown[captions[1]] == style.ORANGE
        assert len(grid.images) == 2

    def test_captions_do_not_reach_into_their_neighbours(self):
        caption = ["caterpillar\n✗ aquarium fish 100 %"] * 3
        figure = figures.image_grid(np.zeros((3, 32, 32, 3), np.uint8), caption)
        style.to_rgb(figure)
        boxes = [text.get_window_extent() for text in figure.texts if text.get_text()]
        assert len(boxes) == 3
        for first, second in itertools.pairwise(boxes):
            assert first.x1 < second.x0
        assert min(box.y0 for box in boxes) >= 0

    @pytest.mark.parametrize(("count", "captions"), [(0, None), (2, ["one"]), (1, ["one", "two"])])
    def test_refuses_what_does_not_fit(self, count, captions):
        with pytest.raises(ValueError, match="captions"):
            figures.image_grid(np.zeros((count, 8, 8, 3), np.uint8), captions)


def find(picture, patch):
    """Finds the place of a patch in a picture. Fails unless it is there."""
    height, width = patch.shape[:2]
    corner = np.all(picture == patch[0, 0], axis=-1)
    for top, left in np.argwhere(corner):
        if np.array_equal(picture[top : top + height, left : left + width], patch):
            return top, left
    raise AssertionError("the image is not in the figure")


class TestConfusionMatrix:
    def test_classes_are_sorted_by_group_and_rows_are_shares(self):
        figure = figures.confusion_matrix(COUNTS, NAMES, COARSE, COARSE_OF)
        axes = figure.axes[0]
        assert labels(axes.get_xticklabels()) == ["cod fish", "eel", "ant", "bee"]
        assert labels(axes.get_yticklabels()) == ["cod fish", "eel", "ant", "bee"]
        shown = np.ma.filled(axes.images[0].get_array(), np.nan)
        nan = np.nan
        want = [[0.75, 0, 0, 0.25], [nan] * 4, [0.2, 0, 0.6, 0.2], [0, 0, 0, 1]]
        np.testing.assert_allclose(shown, want)
        written = {
            (round(t.get_position()[1]), round(t.get_position()[0])): t.get_text()
            for t in axes.texts
        }
        assert written[2, 2] == "60"
        assert written[0, 3] == "25"
        assert not any(row == 1 for row, _ in written)  # a class without examples
        assert "19 images, 73.7 % right" in figure.get_suptitle()

    def test_groups_are_named_on_both_sides_and_parted_by_lines(self):
        axes = figures.confusion_matrix(COUNTS, NAMES, COARSE, COARSE_OF).axes[0]
        above, beside = axes.child_axes
        assert labels(above.get_xticklabels()) == ["fish", "insects"]
        assert labels(beside.get_yticklabels()) == ["fish", "insects"]
        np.testing.assert_allclose(above.get_xticks(), [0.5, 2.5])
        np.testing.assert_allclose(beside.get_yticks(), [0.5, 2.5])
        horizontal, vertical = axes.lines
        assert set(horizontal.get_ydata()) == {1.5}
        assert set(vertical.get_xdata()) == {1.5}

    def test_two_classes_without_groups(self):
        figure = figures.confusion_matrix(np.array([[9, 1], [3, 7]]), ["happy", "sad"])
        (axes,) = figure.axes
        assert axes.child_axes == []
        assert sorted(labels(axes.texts)) == ["10", "30", "70", "90"]
        assert style.to_rgb(figure).shape[0] > 300

    def test_fifty_names_stay_apart(self):
        coarse_of = np.arange(50) % 10
        names = [f"aquarium_fish_{k}" for k in range(50)]
        coarse = [f"large_omnivores_and_herbivores_{k}" for k in range(10)]
        figure = figures.confusion_matrix(np.eye(50, dtype=int) * 100, names, coarse, coarse_of)
        rgb = style.to_rgb(figure)
        axes = figure.axes[0]
        boxes = [tick.get_window_extent() for tick in axes.get_yticklabels()]
        assert min(box.height for box in boxes) >= 9  # pixels: can be read
        tops = sorted(box.y0 for box in boxes)
        assert min(np.diff(tops)) >= max(box.height for box in boxes) * 0.9
        beside = [tick.get_window_extent() for tick in axes.child_axes[0].get_xticklabels()]
        for first, second in itertools.pairwise(beside):
            assert first.x1 < second.x0
        for box in (*boxes, *beside):
            assert box.x0 >= 0
            assert max(box.x1, box.y1) <= max(rgb.shape)


class TestWorstClasses:
    def test_the_worst_come_first_with_their_intervals(self):
        scored = split_score.score(
            np.eye(4, dtype=np.float32)[[0, 1, 1, 2, 1, 2]],
            np.array([0, 0, 0, 2, 2, 2]),
            NAMES,
            COARSE,
            COARSE_OF,
        )
        figure = figures.worst_classes(scored.per_class, ITEM)
        (axes,) = figure.axes
        assert labels(axes.get_yticklabels()) == ["ant   33 %", "cod fish   67 %"]
        assert axes.yaxis_inverted()
        assert [bar.get_width() for bar in axes.patches] == pytest.approx([1 / 3, 2 / 3])
        (_, _, (whiskers,)) = axes.containers[1]
        for (start, end), name in zip(whiskers.get_segments(), ("ant", "cod_fish"), strict=True):
            assert [start[0], end[0]] == pytest.approx(scored.per_class[name].interval)
        assert figure.legends[0].get_texts()[0].get_text() == "all 2 classes: 50.0 %"

    def test_shows_as_many_as_asked(self):
        score = ClassScore(4, 0.5, (0.2, 0.8), None, None)
        axes = figures.worst_classes({f"c{k}": score for k in range(9)}, ITEM, n=5).axes[0]
        assert len(axes.patches) == 5


def test_l2_path_is_sorted_logarithmic_and_marks_the_choice():
    figure = figures.l2_path([1.0, 1e-4, 1e-2], [1.5, 1.3, 1.1], [0.6, 0.7, 0.75], 1e-2, ITEM)
    for axes, values in zip(figure.axes, ([0.7, 0.75, 0.6], [1.3, 1.1, 1.5]), strict=True):
        assert axes.get_xscale() == "log"
        path, mark = axes.lines
        np.testing.assert_allclose(path.get_xdata(), [1e-4, 1e-2, 1.0])
        np.testing.assert_allclose(path.get_ydata(), values)
        assert set(mark.get_xdata()) == {1e-2}
    assert "chosen, 0.01" in axes.get_xlabel()
    style.to_rgb(figure)
    assert "10⁻²" in labels(figure.axes[1].get_xticklabels())
