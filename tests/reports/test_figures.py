"""Figures of a run show the numbers, and their texts stay apart."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from cifsel.evaluation import scoring, split_score
from cifsel.evaluation.split_score import ClassScore
from cifsel.reports import figures, style
from cifsel.training.progress import Epoch

# Alphabetical, as in the data. Grouped they are cod, eel, ant, bee.
NAMES = ("ant", "bee", "cod_fish", "eel")
COARSE = ("fish", "insects")
COARSE_OF = np.array([1, 1, 0, 0], np.int32)
COUNTS = np.array([[6, 2, 2, 0], [0, 5, 0, 0], [0, 1, 3, 0], [0, 0, 0, 0]])


def history(epochs):
    return [
        Epoch(
            epoch=epoch,
            step=10 * epoch,
            train_loss=3.0 / epoch,
            train_accuracy=1 - 0.9 / epoch,
            val_loss=3.2 / epoch,
            val_accuracy=0.8 - 0.01 * abs(epoch - 4),
            learning_rate=1e-3 / epoch,
            grad_norm=1.0,
            images_per_second=100.0,
            waiting=0.0,
        )
        for epoch in range(1, epochs + 1)
    ]


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
        captions, verdicts = figures.prediction_captions(
            ["tiger", "aquarium_fish"], ["tiger", "polar_bear"], [0.974, 0.5]
        )
        assert captions == ["tiger\n✓ 97 %", "aquarium fish\n✗ polar bear 50 %"]
        assert verdicts == ["right", "wrong"]
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


class TestTrainingCurves:
    def test_shows_the_numbers_and_marks_the_best_epoch(self):
        figure = figures.training_curves(history(6))
        loss, accuracy, rate = figure.axes
        (star,) = [line for line in accuracy.lines if line.get_marker() == "*"]
        assert (star.get_xdata()[0], star.get_ydata()[0]) == (4, 0.8)
        assert "best: epoch 4, 80.0 %" in accuracy.get_title(loc="right")
        for axes, key in ((loss, "loss"), (accuracy, "accuracy")):
            for part, name in (("train", "training"), ("val", "validation")):
                (line,) = [line for line in axes.lines if line.get_label() == name]
                np.testing.assert_allclose(
                    line.get_ydata(), [getattr(epoch, f"{part}_{key}") for epoch in history(6)]
                )
        np.testing.assert_allclose(rate.lines[0].get_ydata(), 1e-3 / np.arange(1, 7))

    def test_a_single_epoch_can_be_seen(self):
        figure = figures.training_curves(history(1))
        rgb = style.to_rgb(figure)
        for colour in (style.BLUE, style.ORANGE):
            assert np.any(np.all(rgb == np.array(to_rgba(colour)[:3]) * 255, axis=-1))
        for axes in figure.axes:
            low, high = axes.get_xlim()
            assert [t for t in axes.get_xticks() if low <= t <= high] == [1]


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
        axes = figures.worst_classes(scored.per_class).axes[0]
        assert labels(axes.get_yticklabels()) == ["ant   33 %", "cod fish   67 %"]
        assert axes.yaxis_inverted()
        assert [bar.get_width() for bar in axes.patches] == pytest.approx([1 / 3, 2 / 3])
        (_, _, (whiskers,)) = axes.containers[1]
        for (start, end), name in zip(whiskers.get_segments(), ("ant", "cod_fish"), strict=True):
            assert [start[0], end[0]] == pytest.approx(scored.per_class[name].interval)
        assert "all 2 classes, 50.0 %" in axes.get_title(loc="right")

    def test_shows_as_many_as_asked(self):
        score = ClassScore(4, 0.5, (0.2, 0.8), None, None)
        axes = figures.worst_classes({f"c{k}": score for k in range(9)}, n=5).axes[0]
        assert len(axes.patches) == 5


def test_reliability_shows_the_table():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(5, 0.5), 300)
    table = scoring.calibration(probabilities, rng.integers(0, 5, 300), bins=10)
    upper, lower = figures.reliability(table).axes
    assert [bar.get_height() for bar in upper.patches] == pytest.approx(list(table.accuracy))
    assert sum(bar.get_height() for bar in lower.patches) == pytest.approx(1)
    error = scoring.expected_calibration_error(table)
    assert f"{100 * error:.1f} % in 10 bins" in upper.get_title(loc="left")
    diagonal, means = upper.lines
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    filled = table.count > 0
    np.testing.assert_array_equal(means.get_xdata(), table.confidence[filled])


def test_l2_path_is_sorted_logarithmic_and_marks_the_choice():
    figure = figures.l2_path([1.0, 1e-4, 1e-2], [1.5, 1.3, 1.1], [0.6, 0.7, 0.75], chosen=1e-2)
    for axes, values in zip(figure.axes, ([1.3, 1.1, 1.5], [0.7, 0.75, 0.6]), strict=True):
        assert axes.get_xscale() == "log"
        path, mark = axes.lines
        np.testing.assert_allclose(path.get_xdata(), [1e-4, 1e-2, 1.0])
        np.testing.assert_allclose(path.get_ydata(), values)
        assert set(mark.get_xdata()) == {1e-2}
        assert "chosen, 0.01" in axes.get_xlabel()
    style.to_rgb(figure)
    assert "10⁻²" in labels(figure.axes[0].get_xticklabels())
