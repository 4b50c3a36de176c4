"""Paired statistics against exact enumeration, other formulas, and their own promise."""

import inspect
import itertools
import math

import numpy as np
import pytest
from scipy import stats

from cifsel.comparison import paired
from cifsel.evaluation import scoring


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
    estimate = paired.difference(*rights(60, 20, 800, 120))
    assert estimate.mean == pytest.approx(0.04)
    assert estimate.p == paired.mcnemar(60, 20)
    assert estimate.significant
    # Wald's interval, which is nearly the same with so many images.
    error = math.sqrt((0.06 + 0.02 - 0.04**2) / 1000)
    assert estimate.low == pytest.approx(0.04 - 1.96 * error, abs=1e-3)
    assert estimate.high == pytest.approx(0.04 + 1.96 * error, abs=1e-3)
    assert estimate.from_seeds is None


@pytest.mark.parametrize(("p", "significant"), [(0.049, True), (0.05, False), (0.051, False)])
def test_significant_is_below_5_percent(p, significant):
    assert paired.Difference(0.1, 0.0, 0.2, p, 0.05, None).significant is significant


def test_swapping_the_models_turns_everything_round():
    a, b = rights(60, 20, 800, 120)
    forth, back = paired.difference(a, b), paired.difference(b, a)
    expected = -back.mean, -back.high, -back.low, back.p
    assert (forth.mean, forth.low, forth.high, forth.p) == pytest.approx(expected)


def test_a_model_is_not_better_than_itself():
    rng = np.random.default_rng(0)
    right = rng.random((3, 500)) < 0.7
    estimate = paired.difference(right, right)
    assert (estimate.mean, estimate.p) == (0.0, 1.0)
    assert estimate.low < 0 < estimate.high


@pytest.mark.parametrize("counts", [(3, 1, 4, 2), (0, 9, 0, 0), (60, 20, 800, 120)])
def test_interval_of_single_runs_is_of_the_images_and_one_more_of_each_disagreement(counts):
    a, b = rights(*counts)
    estimate = paired.difference(a, b)
    more = np.append(a[0].astype(int) - b[0], [1, -1])
    error = more.std() / math.sqrt(len(more))
    expected = np.clip(more.mean() + stats.norm.ppf([0.025, 0.975]) * error, -1, 1)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(expected))
    assert estimate.from_images == pytest.approx(error)


@pytest.mark.parametrize("counts", [(60, 20, 800, 120), (1, 0, 0, 0), (24, 0, 0, 0), (0, 0, 3, 0)])
def test_seeds_that_agree_count_as_one(counts):
    """Three seeds that answer alike say no more than one of them."""
    a, b = rights(*counts)
    single = paired.difference(a, b)
    estimate = paired.difference(np.repeat(a, 3, axis=0), np.repeat(b, 3, axis=0))
    assert (estimate.mean, estimate.p) == (single.mean, single.p)
    assert (estimate.low, estimate.high) == (single.low, single.high)
    assert estimate.low < estimate.high
    assert (estimate.from_seeds, single.from_seeds) == (0, None)
    for right in (a, b):
        several, alone = paired.accuracy(np.repeat(right, 2, axis=0)), paired.accuracy(right)
        assert (several.mean, several.low, several.high) == (alone.mean, alone.low, alone.high)
        assert several.spread == 0


def test_a_single_image_or_no_spread_at_all_is_never_certain():
    right, wrong = np.ones((2, 1), bool), np.zeros((3, 1), bool)
    assert paired.difference(right, wrong).p == 1
    assert paired.difference(np.array([[1], [0]], bool), wrong).p == 1
    # Each seed is right on one of both images.
    by_turns = paired.difference(np.eye(2, dtype=bool), np.zeros((2, 2), bool))
    assert (by_turns.mean, by_turns.p) == (0.5, 1)
    assert by_turns.low < 0.5 < by_turns.high
    assert paired.accuracy(np.eye(2, dtype=bool)).low < 0.5


THREE_SEEDS = [[1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 1], [0, 1, 1, 1, 1, 1]]
TWO_SEEDS = [[1, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1]]


@pytest.mark.parametrize(("a", "b"), [(THREE_SEEDS, TWO_SEEDS), (TWO_SEEDS, THREE_SEEDS)])
def test_seeds_alone_give_welchs_t_test_when_images_agree(a, b):
    """Of all images, as many seeds are right: nothing comes from the images."""
    a, b = np.array(a, bool), np.array(b, bool)
    estimate = paired.difference(a, b)
    reference = stats.ttest_ind(a.mean(1), b.mean(1), equal_var=False)
    interval = reference.confidence_interval()
    assert estimate.p == pytest.approx(reference.pvalue)
    low, high = np.clip([interval.low, interval.high], -1, 1)
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    assert estimate.from_images == pytest.approx(0, abs=1e-12)
    variances = [right.mean(1).var(ddof=1) / len(right) for right in (a, b)]
    assert estimate.from_seeds == pytest.approx(math.sqrt(sum(variances)))


def test_one_seed_says_nothing_about_the_spread_between_seeds():
    single, three = np.array([[1, 1, 0, 0, 1, 0]], bool), np.array(THREE_SEEDS, bool)
    assert paired.difference(single, three).from_seeds is None
    assert paired.difference(three, single).from_seeds is None


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
        estimate = paired.difference(a, b)
        inside += estimate.low <= 0 <= estimate.high
        false_alarms += estimate.significant
    # Three standard errors of a binomial around 95 %, and more only on the careful side.
    assert inside / trials > 0.95 - 3 * math.sqrt(0.95 * 0.05 / trials)
    assert false_alarms == trials - inside


@pytest.mark.parametrize("images", [6, 24])
@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_intervals_hold_with_few_images_and_few_seeds(images, seeds):
    """Simulated: images of different hardness, and seeds that agree more or less."""
    rng, trials, inside, alarms = np.random.default_rng(images + seeds), 250, 0, 0
    for trial in range(trials):
        common = (0.2, 0.8)[trial % 2]  # share of the variance that all seeds have in common
        truth = (0.6, 0.85, 0.95)[trial % 3]
        hardness = rng.normal(0, math.sqrt(common), images)
        a, b = (
            hardness + rng.normal(0, math.sqrt(1 - common), (seeds, images)) < stats.norm.ppf(truth)
            for _ in range(2)
        )
        accuracy = paired.accuracy(a)
        assert accuracy.low < accuracy.high
        inside += accuracy.low <= truth <= accuracy.high
        alarms += paired.difference(a, b).significant
    noise = 3 * math.sqrt(0.95 * 0.05 / trials)
    assert inside / trials > 0.95 - noise
    assert alarms / trials < 0.05 + noise


def test_accuracy_of_one_seed_has_wilsons_interval():
    right = np.arange(200)[None] < 150
    estimate = paired.accuracy(right)
    assert (estimate.mean, estimate.by_seed, estimate.spread) == (0.75, (0.75,), None)
    assert (estimate.low, estimate.high) == scoring.wilson(150, 200)


def test_accuracy_of_several_seeds_has_mean_and_spread():
    right = np.stack([np.arange(100) < count for count in (70, 80, 90)])
    estimate = paired.accuracy(right)
    assert estimate.mean == pytest.approx(0.8)
    assert estimate.by_seed == pytest.approx((0.7, 0.8, 0.9))
    assert estimate.spread == pytest.approx(0.1)
    assert 0 <= estimate.low < 0.7
    assert 0.9 < estimate.high <= 1.0


def test_all_right_stays_within_0_and_1():
    estimate = paired.accuracy(np.ones((2, 24), bool))
    assert (estimate.mean, estimate.high) == (1.0, 1.0)
    assert (estimate.low, estimate.high) == scoring.wilson(24, 24)
    single = paired.difference(np.ones((1, 5), bool), np.zeros((1, 5), bool))
    assert single.mean == 1.0
    assert single.high <= 1.0


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((5,), (1, 5)),
        ((1, 5), (5,)),
        ((5,), (5,)),
        ((1, 5), (1, 6)),
        ((0, 5), (1, 5)),
        ((1, 0), (1, 0)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(a, b):
    with pytest.raises(ValueError, match=r"need|nothing"):
        # Without the check of shapes at run time, which tests install.
        inspect.unwrap(paired.difference)(np.zeros(a, bool), np.zeros(b, bool))
