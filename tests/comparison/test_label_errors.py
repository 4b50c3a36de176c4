"""Label errors are suspected where all runs agree on one wrong class, with confidence."""

import inspect

import numpy as np
import pytest

from cifsel.comparison.label_errors import LabelError, find_label_errors


def run(*rows):
    return np.array(rows, float)


LABELS = np.array([0, 1, 2, 0, 1])
FIRST = run(
    [0.1, 0.9, 0.0],  # wrong
    [0.0, 1.0, 0.0],  # right
    [0.95, 0.0, 0.05],  # wrong
    [0.0, 0.9, 0.1],  # wrong
    [0.8, 0.2, 0.0],  # wrong
)
SECOND = run(
    [0.1, 0.9, 0.0],  # the same class
    [0.0, 1.0, 0.0],
    [0.99, 0.0, 0.01],  # the same
    [0.0, 0.1, 0.9],  # another wrong class
    [0.6, 0.4, 0.0],  # the same, not sure
)


def test_finds_where_all_runs_agree_on_a_wrong_class():
    errors = find_label_errors([FIRST, SECOND], LABELS, min_probability=0.8)
    assert [(error.position, error.label, error.predicted) for error in errors] == [
        (2, 2, 0),
        (0, 0, 1),
    ]
    assert [error.probability for error in errors] == pytest.approx([0.97, 0.9])


def test_one_probabilitiesthat_is_right_or_thinks_otherwise_clears_an_image():
    third = FIRST.copy()
    third[2] = [0.1, 0.0, 0.9]
    third[0] = [0.1, 0.2, 0.7]
    assert find_label_errors([FIRST, SECOND, third], LABELS, min_probability=0.5) == [
        LabelError(4, 1, 0, pytest.approx((0.8 + 0.6 + 0.8) / 3))
    ]


def test_the_mean_need_not_be_reached_by_every_run():
    probability = 0.7
    assert [
        error.position for error in find_label_errors([FIRST, SECOND], LABELS, probability)
    ] == [
        2,
        0,
        4,
    ]
    assert [error.position for error in find_label_errors([FIRST, SECOND], LABELS, 0.71)] == [2, 0]


def test_equally_probable_ones_keep_the_order_of_the_images():
    same = run(*[[0.0, 1.0]] * 300)
    errors = find_label_errors([same], np.zeros(300, int))
    assert [error.position for error in errors] == list(range(300))


def test_nothing_is_suspected_where_all_is_right():
    assert find_label_errors([np.eye(3)], np.arange(3)) == []


def test_agrees_with_a_loop_over_images():
    rng = np.random.default_rng(0)
    common = rng.normal(0, 3, (200, 4))
    runs = []
    for _ in range(3):
        odds = np.exp(common + rng.normal(0, 1, (200, 4)))
        runs.append(odds / odds.sum(1, keepdims=True))
    labels = rng.integers(0, 4, 200)
    expected = []
    for position, label in enumerate(labels):
        predicted = {int(probabilities[position].argmax()) for probabilities in runs}
        if len(predicted) == 1 and label not in predicted:
            (winner,) = predicted
            mean = sum(probabilities[position, winner] for probabilities in runs) / 3
            if mean >= 0.6:
                expected.append((mean, position, int(label), winner))
    expected.sort(reverse=True)
    errors = find_label_errors(runs, labels, min_probability=0.6)
    assert len(errors) > 20
    assert [(error.position, error.label, error.predicted) for error in errors] == [
        entry[1:] for entry in expected
    ]
    assert [error.probability for error in errors] == pytest.approx(
        [entry[0] for entry in expected]
    )


@pytest.mark.parametrize(
    ("probabilities", "labels"),
    [
        ([], LABELS),
        ([FIRST, SECOND[:4]], LABELS),
        ([FIRST, SECOND[:, :2]], LABELS),
        ([FIRST], LABELS[:4]),
        ([FIRST], LABELS[:, None]),
        ([FIRST[0]], LABELS[:3]),
    ],
)
def test_refuses_what_does_not_fit_together(probabilities, labels):
    with pytest.raises(ValueError, match="need"):
        # Without the check of shapes at run time, which tests install.
        inspect.unwrap(find_label_errors)(probabilities, labels)
