"""Scores against scikit-learn and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from cifsel.evaluation import scoring
from cifsel.selfie.protocol import folds as folds_lib
from cifsel.selfie.protocol import scores


def random_case(classes, repeats=3, photos=40):
    rng = np.random.default_rng(classes)
    labels = rng.permutation(np.minimum(np.arange(photos) // 6, classes - 1))  # unequal counts
    logits = rng.normal(size=(repeats, photos, classes)) + np.eye(classes)[labels]
    probabilities = np.stack([scoring.softmax(row) for row in logits]).astype(np.float32)
    return probabilities, labels.astype(np.int32)


@pytest.mark.parametrize("classes", [2, 4])
def test_scores_are_those_of_scikit_learn(classes):
    probabilities, labels = random_case(classes)
    scored = scores.score(probabilities, labels, np.arange(40))
    predicted = probabilities.argmax(2)

    def mean(metric, given, **settings):
        return pytest.approx(np.mean([metric(labels, row, **settings) for row in given]), rel=1e-5)

    assert (scored.examples, scored.repeats) == (40, 3)
    assert scored.accuracy == mean(metrics.accuracy_score, predicted)
    assert scored.right == pytest.approx((predicted == labels).sum(1).mean())
    assert scored.balanced_accuracy == mean(metrics.balanced_accuracy_score, predicted)
    assert scored.balanced_accuracy != pytest.approx(scored.accuracy, abs=1e-3)
    whole = probabilities.astype(np.float64)
    whole /= whole.sum(2, keepdims=True)
    assert scored.log_loss == mean(metrics.log_loss, whole)
    if classes == 2:
        assert scored.auc == mean(metrics.roc_auc_score, probabilities[:, :, 1])
    else:
        assert scored.auc == mean(metrics.roc_auc_score, whole, multi_class="ovr")
    counts = [metrics.confusion_matrix(labels, row) for row in predicted]
    np.testing.assert_allclose(scored.confusion, np.mean(counts, 0))
    np.testing.assert_allclose(scored.probabilities, probabilities.mean(0), atol=1e-6)


def test_rows_that_rounding_took_away_from_1_are_scored_and_left_as_they_are():
    probabilities, labels = random_case(3)
    exact = scores.score(probabilities, labels, np.arange(40))
    stretch = 1 + 1e-4 * np.random.default_rng(0).choice([-1, 1], (3, 40, 1))
    off = probabilities.astype(np.float64) * stretch
    before = off.copy()
    assert scores.score(off, labels, np.arange(40)).auc == pytest.approx(exact.auc)
    np.testing.assert_array_equal(off, before)


@pytest.mark.parametrize("classes", [2, 4])
def test_balanced_accuracy_of_each_repetition_is_that_of_scikit_learn(classes):
    probabilities, labels = random_case(classes)
    predicted = probabilities.argmax(2)
    expected = [metrics.balanced_accuracy_score(labels, row) for row in predicted]
    np.testing.assert_allclose(scores.balanced_accuracy(predicted, labels), expected)
    dealt = np.stack([np.roll(labels, shift) for shift in range(3)])
    expected = [
        metrics.balanced_accuracy_score(*pair) for pair in zip(dealt, predicted, strict=True)
    ]
    np.testing.assert_allclose(scores.balanced_accuracy(predicted, dealt), expected)


def test_a_probability_of_zero_for_the_truth_is_a_number():
    scored = scores.score(np.array([[[1.0, 0.0], [1.0, 0.0]]]), np.array([0, 1]), np.arange(2))
    assert scored.log_loss == pytest.approx(-np.log(1e-12) / 2)
    assert scored.auc == 0.5


def test_photos_of_one_group_count_once_in_the_interval():
    probabilities, labels = random_case(2)
    alone = scores.score(probabilities, labels, np.arange(40))
    pairs = scores.score(probabilities, labels, np.arange(40) // 2)
    assert alone.accuracy_interval == scores.wilson_share(alone.accuracy, 40)
    assert pairs.accuracy_interval == scores.wilson_share(alone.accuracy, 20)
    widths = [np.diff(row.accuracy_interval)[0] for row in (alone, pairs)]
    assert widths[1] > 1.3 * widths[0]
    # Nor are repetitions other photos.
    thrice = scores.score(np.concatenate([probabilities] * 3), labels, np.arange(40))
    assert thrice.accuracy_interval == pytest.approx(alone.accuracy_interval)


@pytest.mark.parametrize("trials", [1, 4, 24, 1000])
def test_wilson_of_whole_numbers_is_wilson(trials):
    for right in {0, 1, trials // 3, trials - 1, trials}:
        interval = scores.wilson_share(right / trials, trials)
        assert interval == pytest.approx(scoring.wilson(right, trials), abs=1e-12)


@given(st.floats(0, 1), st.integers(1, 500))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_wilson_holds_the_share_and_lies_between_those_of_whole_numbers(share, trials):
    low, high = scores.wilson_share(share, trials)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    below = scoring.wilson(int(share * trials), trials)
    above = scoring.wilson(min(trials, int(share * trials) + 1), trials)
    assert below[0] - 1e-9 <= low <= above[0] + 1e-9
    assert below[1] - 1e-9 <= high <= above[1] + 1e-9


def test_by_repeat_takes_each_photo_from_where_it_was_held_out():
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 6).astype(np.int32)
    folds = folds_lib.repeated(labels, np.arange(12), folds=3, repeats=4, seed=0)
    probabilities = rng.random((12, 12, 2))
    probabilities[~folds.test] = np.nan
    held_out = scores.out_of_fold(probabilities, folds)
    assert held_out.shape == (4, 12, 2)
    for fold, test in enumerate(folds.test):
        np.testing.assert_array_equal(held_out[fold // 3, test], probabilities[fold, test])


def least_sure(probabilities, labels):
    sure = scores.sure(probabilities, labels)
    if sure is None:
        return None
    # The rate in the text is the rate counted above the limit.
    reached = probabilities.max(2) >= sure.least
    right = (probabilities.argmax(2) == labels)[reached]
    assert sure.share == pytest.approx(reached.mean())
    assert sure.right == pytest.approx(right.mean())
    assert sure.right >= scores.SURE
    return sure.least


def sure_from(confidence, right):
    """Of one repetition of photos that are all of class 0."""
    own = np.where(right, confidence, 1 - np.asarray(confidence))
    probabilities = np.stack([own, 1 - own], 1)[None]
    return least_sure(probabilities, np.zeros(len(own), np.int32))


TEN = [0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.62, 0.58, 0.55]


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ([], 0.55),  # all right
        (range(10), None),  # all wrong
        ([9], 0.55),  # nine of ten are enough
        ([8, 9], 0.62),
        ([4], 0.8),  # four of four, but four of five are too few
        ([2, 3], 0.9),
        ([1], None),  # a fifth of them, the least that counts, holds one that is wrong
        ([0], None),
    ],
)
def test_sure_from_which_confidence(wrong, expected):
    threshold = sure_from(TEN, ~np.isin(np.arange(10), list(wrong)))
    assert threshold == pytest.approx(expected)
    # In whatever order the photos come.
    order = np.random.default_rng(0).permutation(10)
    threshold = sure_from(np.array(TEN)[order], ~np.isin(order, list(wrong)))
    assert threshold == pytest.approx(expected)


def test_sure_from_asks_for_a_fifth_of_the_predictions():
    confidence = np.linspace(0.99, 0.51, 50)
    assert sure_from(confidence, np.arange(50) < 8) is None
    assert sure_from(confidence, np.arange(50) < 9) == pytest.approx(confidence[9])
    assert sure_from(confidence, np.arange(50) < 10) == pytest.approx(confidence[10])
    # One mistake among the surest ten is nine of ten, while the first alone would mean nothing.
    assert sure_from(confidence, np.isin(np.arange(50), range(1, 10))) == pytest.approx(
        confidence[9]
    )


def test_sure_is_nine_of_ten_and_no_less():
    confidence = np.linspace(0.99, 0.51, 19)
    # 17 of 19 are 89.5 %.
    assert sure_from(confidence, np.arange(19) < 17) == pytest.approx(confidence[17])


def test_sure_from_counts_all_repetitions_and_any_class():
    labels = np.array([0, 1, 2])
    first = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.2, 0.2, 0.6]])
    assert least_sure(first[None], labels) == pytest.approx(0.6)
    # Takes the last two classes for each other.
    other = np.array([[0.75, 0.1, 0.15], [0.2, 0.15, 0.65], [0.2, 0.58, 0.22]])
    assert least_sure(np.stack([first, other]), labels) == pytest.approx(0.7)


def test_equal_confidence_is_equally_sure():
    """Not by what happens to be counted first."""
    assert sure_from(np.full(10, 0.8), np.arange(10) < 5) is None
    assert sure_from([0.9] * 4 + [0.7] * 6, np.arange(10) < 7) == pytest.approx(0.9)


@given(st.lists(st.tuples(st.sampled_from(TEN), st.booleans()), min_size=1, max_size=25))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_whoever_is_as_sure_was_right_nine_times_of_ten(pairs):
    confidence, right = map(np.array, zip(*pairs, strict=True))
    threshold = sure_from(confidence, right)
    if threshold is not None:
        sure = confidence >= threshold - 1e-9
        assert right[sure].mean() >= 0.9
        assert sure.mean() >= 0.2


def test_answers_that_lean_to_a_class_are_told():
    # 9 of 10 wrong answers are "sad": two-sided sign test.
    leaning = scores.leaning(np.array([[11.0, 9], [1, 19]]))
    assert (leaning.label, leaning.into, leaning.out_of) == (1, 9, 1)
    assert leaning.p == pytest.approx(22 / 1024)
    assert scores.leaning(np.array([[12.0, 7], [3, 17]])) is None
    assert scores.leaning(np.array([[12.0, 0], [0, 12]])) is None
    # Means of repetitions are rounded, and of three classes each is a test of its own.
    assert scores.leaning(np.array([[11.2, 8.8], [1.3, 18.7]])).into == 9
    three = np.array([[10.0, 5, 0], [0, 10, 0], [1, 4, 10]])
    assert scores.leaning(three).label == 1
    assert scores.leaning(three).p == pytest.approx(3 * 2 / 2**9)
