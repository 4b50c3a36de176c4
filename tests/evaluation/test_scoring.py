import dataclasses
import json
import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from cifsel.evaluation import scoring, split_score

few = settings(max_examples=50, deadline=None)


# Six images, four classes in two coarse labels; "eel" never occurs as a label.
NAMES = ("ant", "bee", "cod", "eel")
COARSE = ("insects", "fish")
COARSE_OF = np.array([0, 0, 1, 1], np.int32)
LABELS = np.array([0, 0, 0, 1, 1, 2], np.int32)
PREDICTED = np.array([0, 0, 1, 1, 3, 3])


def logits_for(predicted, num_classes, margin=5.0):
    logits = np.zeros((len(predicted), num_classes), np.float32)
    logits[np.arange(len(predicted)), predicted] = margin
    return logits


def scored():
    return split_score.score(logits_for(PREDICTED, 4), LABELS, NAMES, COARSE, COARSE_OF)


class TestWilson:
    @given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
    @few
    def test_agrees_with_scipy(self, pair):
        successes, total = pair
        reference = scipy.stats.binomtest(successes, total).proportion_ci(method="wilson")
        assert scoring.wilson(successes, total) == pytest.approx(
            (reference.low, reference.high), abs=1e-6
        )

    @given(st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
    @few
    def test_holds_the_rate_within_0_and_1(self, pair):
        low, high = scoring.wilson(*pair)
        assert 0 <= low <= pair[0] / pair[1] <= high <= 1
        assert low < high

    def test_none_and_all_end_at_0_and_1_and_next_to_them_within(self):
        for total in range(1, 300):
            assert scoring.wilson(0, total)[0] == 0
            assert scoring.wilson(total, total)[1] == 1
            # Here rounding alone would go beyond.
            assert scoring.wilson(5e-324, total)[0] >= 0
            assert scoring.wilson(math.nextafter(total, 0), total)[1] <= 1

    def test_other_confidence(self):
        reference = scipy.stats.binomtest(7, 20).proportion_ci(0.99, method="wilson")
        z = scipy.stats.norm.ppf(0.995)
        assert scoring.wilson(7, 20, z) == pytest.approx((reference.low, reference.high))

    @pytest.mark.parametrize(("successes", "total"), [(0, 0), (-1, 5), (6, 5)])
    def test_refuses_impossible_counts(self, successes, total):
        with pytest.raises(ValueError, match="successes"):
            scoring.wilson(successes, total)


class TestConfusion:
    def test_rows_are_true_columns_predicted(self):
        got = scoring.confusion(LABELS, PREDICTED, 4)
        want = [[2, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
        np.testing.assert_array_equal(got, want)

    @given(
        hnp.arrays(np.int32, st.tuples(st.integers(0, 60), st.just(2)), elements=st.integers(0, 6))
    )
    @few
    def test_margins_are_the_frequencies(self, pairs):
        got = scoring.confusion(pairs[:, 0], pairs[:, 1], 7)
        for axis, column in ((1, 0), (0, 1)):
            want = [(pairs[:, column] == k).sum() for k in range(7)]
            np.testing.assert_array_equal(got.sum(axis=axis), want)

    @pytest.mark.parametrize("dtype", [np.int8, np.uint64])
    def test_integers_of_any_type_count_alike(self, dtype):
        classes = np.arange(50, dtype=dtype)
        got = scoring.confusion(classes, classes[::-1], 50)
        np.testing.assert_array_equal(got, np.eye(50)[::-1])

    @pytest.mark.parametrize("bad", [-1, 4])
    def test_refuses_classes_out_of_range(self, bad):
        with pytest.raises(ValueError, match=r"outside 0\.\.3"):
            scoring.confusion(np.array([0]), np.array([bad]), 4)

    def test_refuses_unequal_lengths(self):
        with pytest.raises(ValueError, match="predictions"):
            scoring.confusion(np.array([0, 1]), np.array([0]), 2)


class TestCalibration:
    def test_worked_example(self):
        # Two bins: confidences .5 (right; upper edges are inclusive), .6 (wrong), .9 and 1 (right).
        probabilities = np.array([[0.5, 0.3, 0.2], [0.6, 0.4, 0], [0.05, 0.9, 0.05], [0, 0, 1.0]])
        labels = np.array([0, 1, 1, 2])
        table = scoring.calibration(probabilities, labels, bins=2)
        np.testing.assert_allclose(table.edges, [0, 0.5, 1])
        np.testing.assert_array_equal(table.count, [1, 3])
        np.testing.assert_allclose(table.confidence, [0.5, 2.5 / 3])
        np.testing.assert_allclose(table.accuracy, [1, 2 / 3])

    def test_a_probability_above_1_by_rounding_stays_in_the_last_bin(self):
        table = scoring.calibration(np.array([[1 + 1e-7, 0]]), np.array([0]), bins=3)
        np.testing.assert_array_equal(table.count, [0, 0, 1])

    def test_error_of_an_overconfident_model(self):
        # Always 90 % sure, right half the time.
        probabilities = np.tile([0.9, 0.1], (10, 1))
        labels = np.array([0, 1] * 5)
        table = scoring.calibration(probabilities, labels)
        assert scoring.expected_calibration_error(table) == pytest.approx(0.4)

    def test_error_of_a_calibrated_model_is_small(self):
        rng = np.random.default_rng(0)
        probabilities = rng.dirichlet(np.ones(4), 20_000)
        labels = (probabilities.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
        table = scoring.calibration(probabilities, labels)
        assert scoring.expected_calibration_error(table) < 0.015

    @given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.integers(1, 20))
    @few
    def test_counts_every_example_in_its_bin(self, seed, count, bins):
        rng = np.random.default_rng(seed)
        probabilities = rng.dirichlet(np.full(5, 0.3), count)
        table = scoring.calibration(probabilities, rng.integers(0, 5, count), bins)
        assert table.count.sum() == count
        filled = table.count > 0
        assert np.all(table.confidence[filled] >= table.edges[:-1][filled] - 1e-12)
        assert np.all(table.confidence[filled] <= table.edges[1:][filled] + 1e-12)
        assert np.all((table.accuracy >= 0) & (table.accuracy <= 1))


class TestScore:
    def test_worked_example(self):
        got = scored()
        assert got.examples == 6
        assert got.accuracy == pytest.approx(0.5)
        reference = scipy.stats.binomtest(3, 6).proportion_ci(method="wilson")
        assert got.accuracy_interval == pytest.approx([reference.low, reference.high], abs=1e-6)
        # ant: 3 true, 2 predicted, 2 right; bee: 2, 2, 1; cod: 1, 0, 0; eel: 0, 2, 0.
        assert got.macro_f1 == pytest.approx((4 / 5 + 2 / 4 + 0 + 0) / 4)
        assert got.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
        assert got.majority == pytest.approx(3 / 6)
        surely = math.exp(5) / (math.exp(5) + 3)  # every image's highest probability
        assert got.ece == pytest.approx(surely - 0.5)
        assert got.coarse_accuracy == pytest.approx(5 / 6)  # bee -> eel is the only one outside
        per_coarse = got.per_coarse
        assert per_coarse["insects"].examples == 5
        assert per_coarse["insects"].accuracy == pytest.approx(3 / 5)
        assert per_coarse["insects"].coarse_accuracy == pytest.approx(4 / 5)
        assert per_coarse["fish"].accuracy == 0.0
        assert per_coarse["fish"].coarse_accuracy == 1.0
        ant = got.per_class["ant"]
        assert (ant.examples, ant.precision) == (3, 1.0)
        assert ant.accuracy == pytest.approx(2 / 3)
        assert ant.f1 == pytest.approx(0.8)
        low, high = ant.interval
        assert low < 2 / 3 < high
        assert got.top_confusions == (("ant", "bee", 1), ("bee", "eel", 1), ("cod", "eel", 1))

    def test_a_class_without_examples_is_none_and_json_is_strict(self):
        got = scored()
        eel = got.per_class["eel"]
        assert eel == split_score.ClassScore(
            examples=0, accuracy=None, interval=None, precision=0.0, f1=0.0
        )
        assert got.per_class["cod"].precision is None  # never predicted
        content = json.loads(json.dumps(got.to_json(), allow_nan=False))
        assert split_score.SplitScore.from_json(content) == got

    def test_classes_without_coarse_labels(self):
        logits = logits_for(PREDICTED, 4)
        got = split_score.score(logits, LABELS, NAMES, (), np.empty(0, np.int32))
        assert got.coarse_accuracy is None
        assert got.per_coarse == {}
        assert got.per_class == scored().per_class
        content = json.loads(json.dumps(got.to_json(), allow_nan=False))
        assert split_score.SplitScore.from_json(content) == got

    def test_a_class_and_group_that_occur_nowhere(self):
        got = split_score.score(logits_for([0, 1], 4), np.array([0, 0]), NAMES, COARSE, COARSE_OF)
        assert set(dataclasses.astuple(got.per_class["eel"])) == {0, None}
        assert set(dataclasses.astuple(got.per_coarse["fish"])) == {0, None}
        assert got.macro_f1 == pytest.approx((2 / 3 + 0) / 2)  # ant and bee only
        json.dumps(got.to_json(), allow_nan=False)

    @given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(2, 12))
    @few
    def test_loss_and_top5_against_independent_definitions(self, seed, count, num_classes):
        rng = np.random.default_rng(seed)
        logits = rng.normal(0, 3, (count, num_classes)).astype(np.float32)
        labels = rng.integers(0, num_classes, count)
        names = [f"c{k}" for k in range(num_classes)]
        got = split_score.score(logits, labels, names, ["all"], np.zeros(num_classes, np.int32))
        log_softmax = scipy.special.log_softmax(logits.astype(np.float64), axis=1)
        assert got.loss == pytest.approx(-log_softmax[np.arange(count), labels].mean())
        hits = [label in np.argsort(row)[-5:] for row, label in zip(logits, labels, strict=True)]
        assert got.top5 == pytest.approx(np.mean(hits))
        assert got.accuracy <= got.top5
        assert got.coarse_accuracy == 1.0
        assert sum(entry.examples for entry in got.per_class.values()) == count
        mean = sum((e.accuracy or 0) * e.examples for e in got.per_class.values()) / count
        assert mean == pytest.approx(got.accuracy)

    def test_calibration_error_is_over_fifteen_bins(self):
        # 8 / 15 lies between the two, so that each stands by itself: one right, one wrong.
        probabilities = np.array([[0.53, 0.47], [0.54, 0.46]])
        got = split_score.score(
            np.log(probabilities), np.array([0, 1]), "ab", ["all"], np.zeros(2, int)
        )
        assert got.ece == pytest.approx((0.47 + 0.54) / 2)

    def test_huge_logits_do_not_overflow(self):
        logits = np.array([[3e38, 0, -3e38], [1e4, 0, 0]], np.float32)
        got = split_score.score(logits, np.array([0, 1]), "abc", ["all"], np.zeros(3, np.int32))
        assert got.loss == pytest.approx(1e4 / 2)
        assert math.isfinite(got.ece)

    def test_ties_follow_argmax_and_do_not_flatter(self):
        logits = np.zeros((20, 20), np.float32)
        got = split_score.score(
            logits, np.arange(20), [f"c{k}" for k in range(20)], ["all"], np.zeros(20, np.int32)
        )
        assert got.accuracy == pytest.approx(1 / 20)
        assert got.top5 == pytest.approx(5 / 20)
        assert got.loss == pytest.approx(math.log(20))

    def test_top_confusions_are_the_ten_most_frequent(self):
        counts = np.diag([100] * 12)
        for k in range(11):
            counts[k, k + 1] = k + 1
        got = scoring.top_confusions(counts, [f"c{k}" for k in range(12)])
        assert [count for *_, count in got] == list(range(11, 1, -1))
        assert got[0] == ("c10", "c11", 11)

    def test_mistakes_as_frequent_come_in_the_order_of_classes(self):
        got = scoring.top_confusions(np.ones((12, 12), int), [f"c{k}" for k in range(12)])
        assert [predicted for _, predicted, _ in got] == [f"c{k}" for k in range(1, 11)]

    @pytest.mark.parametrize(
        ("logits", "labels", "coarse_of", "message"),
        [
            (np.zeros((3, 4)), np.zeros(2, int), COARSE_OF, "fit together"),
            (np.zeros((2, 3)), np.zeros(2, int), COARSE_OF, "fit together"),
            (np.zeros((0, 4)), np.zeros(0, int), COARSE_OF, "fit together"),
            (np.zeros((2, 4)), np.zeros(2, int), COARSE_OF[:3], "fit together"),
            (np.zeros((2, 4)), np.zeros(2, int), COARSE_OF + 1, "coarse"),
            (np.zeros((2, 4)), np.array([0, 4]), COARSE_OF, "outside"),
            (np.full((2, 4), np.nan), np.zeros(2, int), COARSE_OF, "finite"),
        ],
    )
    def test_refuses_what_does_not_fit(self, logits, labels, coarse_of, message):
        with pytest.raises(ValueError, match=message):
            split_score.score(logits, labels, NAMES, COARSE, coarse_of)


@pytest.mark.parametrize(("classes", "expected"), [(5, False), (6, True)])
def test_top5_of_up_to_five_classes_says_nothing(classes, expected):
    labels, names = np.arange(classes, dtype=np.int32), tuple("abcdef"[:classes])
    score = split_score.score(
        np.eye(classes, dtype=np.float32), labels, names, (), np.empty(0, np.int32)
    )
    assert score.has_top5 is expected
