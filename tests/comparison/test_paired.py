"""Paired statistics against exact enumeration, other formulas, and their own promise."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from cifsel import evaluate
from cifsel.comparison import paired


def rights(only_a, only_b, both, neither):
    """Two (1, N) matrices with so many images of each kind."""
    a = np.repeat([True, False, True, False], [only_a, only_b, both, neither])
    b = np.repeat([False, True, True, False], [only_a, only_b, both, neither])
    return a[None], b[None]


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (3, 0), (5, 2), (7, 7), (1, 11)])
def test_mcnemar_is_the_share_of_coin_tosses_as_uneven(only_a, only_b):
    total = only_a + only_b
    tosses = [sum(coins) for coins in itertools.product((0, 1), repeat=total)]
    as_uneven = [abs(2 * heads - total) >= abs(only_a - only_b) for heads in tosses]
    assert paired.mcnemar(only_a, only_b) == pytest.approx(np.mean(as_uneven))


def test_single_runs_use_mcnemar_and_an_interval_around_the_difference():
    found = paired.difference(*rights(60, 20, 800, 120))
    assert found.mean == pytest.approx(0.04)
    assert found.p == paired.mcnemar(60, 20)
    assert found.significant
    # Wald's interval, which is nearly the same with so many images.
    error = math.sqrt((0.06 + 0.02 - 0.04**2) / 1000)
    assert found.low == pytest.approx(0.04 - 1.96 * error, abs=1e-3)
    assert found.high == pytest.approx(0.04 + 1.96 * error, abs=1e-3)
    assert found.from_seeds is None


def test_swapping_the_models_turns_everything_round():
    a, b = rights(60, 20, 800, 120)
    one, other = paired.difference(a, b), paired.difference(b, a)
    expected = -other.mean, -other.high, -other.low, other.p
    assert (one.mean, one.low, one.high, one.p) == pytest.approx(expected)


def test_a_model_is_not_better_than_itself():
    rng = np.random.default_rng(0)
    right = rng.random((3, 500)) < 0.7
    found = paired.difference(right, right)
    assert (found.mean, found.p) == (0.0, 1.0)
    assert found.low < 0 < found.high


def test_images_alone_give_the_paired_t_test_when_seeds_agree():
    """Three seeds that answer alike: nothing comes from the seeds."""
    a, b = rights(60, 20, 800, 120)
    found = paired.difference(np.repeat(a, 3, axis=0), np.repeat(b, 3, axis=0))
    reference = stats.ttest_rel(a[0].astype(float), b[0].astype(float))
    interval = reference.confidence_interval()
    assert found.p == pytest.approx(reference.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.from_seeds == pytest.approx(0, abs=1e-12)


def test_spread_between_seeds_widens_the_interval():
    rng = np.random.default_rng(1)

    def seeds(accuracies):
        return np.stack([rng.random(2000) < accuracy for accuracy in accuracies])

    alike = paired.difference(seeds([0.8] * 3), seeds([0.75] * 3))
    apart = paired.difference(seeds([0.74, 0.80, 0.86]), seeds([0.69, 0.75, 0.81]))
    assert apart.high - apart.low > 3 * (alike.high - alike.low)
    assert alike.significant
    assert not apart.significant
    assert apart.from_seeds > 3 * apart.from_images


def test_intervals_hold_the_truth_in_95_of_100_trials():
    """Simulated from beginning to end, seeds included: 400 trials of known accuracies."""
    rng, inside, false_alarms, trials = np.random.default_rng(2), 0, 0, 400
    for _ in range(trials):
        hardness = rng.normal(0, 1, 400)
        a, b = (
            np.stack(
                [
                    hardness + rng.normal(0, 0.5, 400) < level
                    for level in 0.9 + rng.normal(0, 0.05, 3)
                ]
            )
            for _ in range(2)
        )
        found = paired.difference(a, b)
        inside += found.low <= 0 <= found.high
        false_alarms += found.significant
    # Three standard errors of a binomial around 95 %, and more only on the careful side.
    assert inside / trials > 0.95 - 3 * math.sqrt(0.95 * 0.05 / trials)
    assert false_alarms == trials - inside


def test_accuracy_of_one_seed_has_wilsons_interval():
    right = np.arange(200)[None] < 150
    found = paired.accuracy(right)
    assert (found.mean, found.spread) == (0.75, None)
    assert (found.low, found.high) == evaluate.wilson(150, 200)


def test_accuracy_of_several_seeds_has_mean_and_spread():
    right = np.stack([np.arange(100) < count for count in (70, 80, 90)])
    found = paired.accuracy(right)
    assert found.mean == pytest.approx(0.8)
    assert found.by_seed == pytest.approx((0.7, 0.8, 0.9))
    assert found.spread == pytest.approx(0.1)
    assert 0 <= found.low < 0.7
    assert 0.9 < found.high <= 1.0


def test_all_right_stays_within_0_and_1():
    found = paired.accuracy(np.ones((2, 50), bool))
    assert (found.low, found.mean, found.high) == (1.0, 1.0, 1.0)
    single = paired.difference(np.ones((1, 5), bool), np.zeros((1, 5), bool))
    assert single.mean == 1.0
    assert single.high <= 1.0


@pytest.mark.parametrize(
    ("a", "b"), [((5,), (1, 5)), ((1, 5), (1, 6)), ((0, 5), (1, 5)), ((1, 0), (1, 0))]
)
def test_shapes_that_do_not_fit_are_refused(a, b):
    with pytest.raises(ValueError, match=r"need|nothing"):
        paired.difference(np.zeros(a, bool), np.zeros(b, bool))
