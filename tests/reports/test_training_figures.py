"""Training curves and reliability diagrams, of one model or of several."""

from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from cifsel.evaluation import scoring
from cifsel.reports import figures, style
from cifsel.reports.figures import Curve
from cifsel.reports.layout import Item
from cifsel.training.progress import Epoch

A, B = Item("a", 0), Item("b", 1)
START = {"val_accuracy": 0.7, "val_loss": 2.0}


def curve(epochs, best=0.8, start=None):
    history = [
        Epoch(
            epoch=epoch,
            step=10 * epoch,
            train_loss=3.0 / epoch,
            train_accuracy=1 - 0.9 / epoch,
            val_loss=3.2 / epoch,
            val_accuracy=best - 0.5 / epoch,
            learning_rate=1e-3,
            grad_norm=1.0,
            images_per_second=100.0,
            waiting=0.0,
        )
        for epoch in range(1, epochs + 1)
    ]
    return Curve(history, start or {}, epochs)


def texts(figure):
    """Everything that can be read in the figure."""
    root = ElementTree.fromstring(style.to_svg(figure, ""))
    return [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]


def lines(axes, colour):
    """The lines of a colour, without the star at the best epoch."""
    own = [line for line in axes.lines if line.get_color() == colour and len(line.get_xdata())]
    return [line for line in own if line.get_marker() != "*"]


class TestTrainingCurves:
    def test_validation_is_solid_training_dashed_and_the_mean_of_seeds_thick(self):
        seeds = [curve(4, 0.8), curve(6, 0.6)]
        accuracy, loss = figures.training_curves({A: seeds, B: [curve(3)]}).axes
        solid = [line for line in lines(accuracy, style.BLUE) if line.get_linestyle() == "-"]
        dashed = [line for line in lines(accuracy, style.BLUE) if line.get_linestyle() == "--"]
        assert len(solid) == len(dashed) == 3
        *thin, mean = solid
        assert [len(line.get_xdata()) for line in thin] == [4, 6]
        assert all(line.get_linewidth() < mean.get_linewidth() for line in thin)
        np.testing.assert_array_equal(mean.get_xdata(), [1, 2, 3, 4])  # which both seeds have
        np.testing.assert_allclose(mean.get_ydata(), 0.7 - 0.5 / np.arange(1, 5))
        validation, training = lines(loss, style.ORANGE)
        np.testing.assert_allclose(validation.get_ydata(), 3.2 / np.arange(1, 4))
        np.testing.assert_allclose(training.get_ydata(), 3.0 / np.arange(1, 4))
        assert (validation.get_linestyle(), training.get_linestyle()) == ("-", "--")

    def test_candidates_without_training_are_left_out_and_the_others_keep_their_looks(self):
        figure = figures.training_curves(
            {Item("probe", 0): [Curve([]), Curve([])], Item("tuned", 1): [curve(3), Curve([])]}
        )
        assert not [axes for axes in figure.axes if lines(axes, style.BLUE)]
        assert len(lines(figure.axes[0], style.ORANGE)) == 2
        assert "probe" not in texts(figure)
        assert "tuned" in texts(figure)

    def test_a_single_epoch_can_be_seen(self):
        blue = np.array(to_rgba(style.BLUE)[:3]) * 255
        figure = figures.training_curves({A: [curve(1)]})
        is_blue = np.all(style.to_rgb(figure) == blue, axis=-1)[::-1]
        for axes in figure.axes:
            left, bottom, right, top = axes.get_window_extent().extents.astype(int)
            assert is_blue[bottom:top, left:right].sum() > 10

    def test_curves_of_validation_begin_at_the_probe(self):
        accuracy, loss = figures.training_curves({A: [curve(3, start=START)]}).axes
        validation, training = lines(accuracy, style.BLUE)
        assert validation.get_xydata()[0].tolist() == [0, 0.7]
        np.testing.assert_array_equal(training.get_xdata(), [1, 2, 3])
        assert lines(loss, style.BLUE)[0].get_xydata()[0].tolist() == [0, 2.0]
        assert loss.get_xlabel() == "epoch (0: the probe that training starts from)"

    def test_a_star_marks_the_best_epoch(self):
        figure = figures.training_curves({A: [curve(3)]})
        (star,) = [line for line in figure.axes[0].lines if line.get_marker() == "*"]
        assert star.get_xydata()[0] == pytest.approx([3, 0.8 - 0.5 / 3])
        assert "best: epoch 3, 63.3 %" in texts(figure)

    def test_a_star_marks_the_start_where_no_epoch_is_better(self):
        started = Curve(curve(3).history, START)
        figure = figures.training_curves({A: [started]})
        (star,) = [line for line in figure.axes[0].lines if line.get_marker() == "*"]
        assert star.get_xydata()[0] == pytest.approx([0, 0.7])
        assert "best: epoch 0, 70.0 %" in texts(figure)

    @pytest.mark.parametrize("curves", [{}, {A: [Curve([])]}, {A: []}])
    def test_refuses_when_no_candidate_trained(self, curves):
        with pytest.raises(ValueError, match="training history"):
            figures.training_curves(curves)


class TestReliability:
    def test_bins_of_few_examples_are_faint_and_off_the_line(self):
        count = np.array([0, 9, 10, 81])
        shown = scoring.Calibration(
            edges=np.linspace(0, 1, 5),
            count=count,
            confidence=np.array([0, 0.4, 0.6, 0.9]),
            accuracy=np.array([0, 0.2, 0.5, 0.8]),
        )
        figure = figures.reliability({A: shown})
        upper, lower = figure.axes
        line, faint = lines(upper, style.BLUE)
        np.testing.assert_allclose(line.get_xydata(), [[0.6, 0.5], [0.9, 0.8]])
        np.testing.assert_allclose(faint.get_xydata(), [[0.4, 0.2]])
        assert line.get_alpha() is None
        assert faint.get_alpha() < 0.5
        assert faint.get_linestyle() == "None"
        np.testing.assert_allclose(lower.patches[0].get_data().values, count / 100)
        # (9 * 0.2 + 10 * 0.1 + 81 * 0.1) / 100
        assert "faint: fewer than 10 predictions" in texts(figure)
        assert "a: calibration error 10.9 %" in texts(figure)
        # The legend is above the panels, on nothing.
        style.to_rgb(figure)
        assert figure.legends[0].get_window_extent().y0 >= upper.get_window_extent().y1
        assert [0, 1] in [list(line.get_xdata()) for line in lines(upper, style.GREY)]
