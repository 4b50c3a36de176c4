"""Which epoch of fine-tuning is kept."""

import dataclasses

import numpy as np
import pytest
from made_up_run import epoch

from cifsel.training.progress import Progress, Start


def epochs(*scores):
    """Epochs with these pairs of validation accuracy and loss."""
    return [
        dataclasses.replace(epoch(number), val_accuracy=accuracy, val_loss=loss)
        for number, (accuracy, loss) in enumerate(scores, 1)
    ]


@pytest.mark.parametrize(
    ("start", "scores", "best"),
    [
        (None, [(0.5, 1.0), (0.7, 2.0), (0.6, 0.1)], 2),
        (None, [(0.5, 1.0), (0.5, 0.9), (0.5, 0.9)], 2),  # of equal accuracy, the lowest loss
        (Start(0.5, 0.6), [(0.5, 0.1), (0.7, 2.0)], 2),
        (Start(0.5, 0.7), [(0.7, 0.4), (0.6, 0.1)], 1),
        (Start(0.5, 0.7), [(0.6, 0.1), (0.7, 0.5)], 0),  # the start is kept
        (Start(0.05, float(np.float32(0.98))), [(0.98, 0.06)], 0),  # equal but for rounding
    ],
)
def test_the_best_is_the_most_accurate_and_better_than_the_start(start, scores, best):
    progress = Progress(start=start)
    marks = [progress.add(e) for e in epochs(*scores)]
    assert (progress.best.epoch if progress.best else 0) == best
    assert any(marks) == bool(best)
    assert Progress.from_json(progress.to_json()) == progress


def test_patience_counts_from_the_start_where_no_epoch_is_better():
    progress = Progress(start=Start(0.5, 0.9))
    assert not progress.exhausted(2)
    first, second = epochs((0.6, 1.0), (0.7, 1.0))
    progress.add(first)
    assert not progress.exhausted(2)
    progress.add(second)
    assert progress.exhausted(2)
    assert not progress.exhausted(0)


def test_records_without_a_start_are_read():
    content = Progress().to_json()
    del content["start"]
    assert Progress.from_json(content) == Progress()
