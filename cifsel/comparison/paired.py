"""Paired statistics: which of two models is right more often on the same images.

A difference in accuracy has two sources of uncertainty: the choice of images and the seed. The
first is estimated from the images, in pairs, as both models saw the same ones. The second is
estimated from the spread between seeds, where there are several.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Bool
from scipy import stats

from cifsel.evaluation import scoring


@dataclasses.dataclass(frozen=True)
class Difference:
    """Accuracy of A minus accuracy of B, each averaged over its seeds, as shares of 1.

    Attributes:
      mean: the difference.
      low: lower end of its 95 % interval.
      high: upper end.
      p: probability of a difference at least as large, either way, between equally good models.
      from_images: standard error due to the choice of images.
      from_seeds: standard error due to the seeds. None if A or B has only one.
    """

    mean: float
    low: float
    high: float
    p: float
    from_images: float
    from_seeds: float | None

    @property
    def significant(self) -> bool:
        """Whether p is below 0.05."""
        return self.p < 0.05


@dataclasses.dataclass(frozen=True)
class Estimate:
    """An accuracy averaged over seeds, with its 95 % interval, as shares of 1.

    Attributes:
      mean: over the seeds.
      low: lower end of its interval.
      high: upper end.
      by_seed: the accuracy of each seed.
      spread: standard deviation between seeds. None for a single one.
    """

    mean: float
    low: float
    high: float
    by_seed: tuple[float, ...]
    spread: float | None


def accuracy(right: Bool[np.ndarray, "seeds images"]) -> Estimate:
    """Estimates the accuracy on other images, and with other seeds where there are several.

    With one seed, or seeds that all agree, the interval is Wilson's over the images. Otherwise it
    is a t-interval over images and seeds.

    Args:
      right: whether each seed is right on each image.
    """
    by_seed = tuple(right.mean(1).tolist())
    spread = float(np.std(by_seed, ddof=1)) if len(right) > 1 else None
    nothing = np.zeros((1, right.shape[1]), bool)
    if _without_spread(right, nothing):
        low, high = scoring.wilson(float(right.mean(0).sum()), right.shape[1])
        return Estimate(float(right.mean()), low, high, by_seed, spread)
    against_nothing = _of_several_runs(right, nothing)
    low = max(0.0, against_nothing.low)
    return Estimate(against_nothing.mean, low, against_nothing.high, by_seed, spread)


def difference(
    right_a: Bool[np.ndarray, "seeds_a images"], right_b: Bool[np.ndarray, "seeds_b images"]
) -> Difference:
    """Compares two models on the same images.

    With one seed each, p is that of McNemar's exact test, and the interval is that of Bonett and
    Price (2012). Otherwise it is a t-test. Its quantity is the share of A's seeds that are right on
    an image minus that of B's, averaged over images. The variance between seeds is added to that
    between images, with Satterthwaite's degrees of freedom.

    A t-test needs spread. Where the seeds of each model agree on all images, where there is a
    single image, or where all images and seeds differ by the same, the formulas of one seed are
    used.

    Args:
      right_a: whether each of A's seeds is right on each image.
      right_b: the same of B.

    Raises:
      ValueError: these are not two matrices over the same number of images, at least one.
    """
    if right_a.ndim != 2 or right_a.shape[1:] != right_b.shape[1:]:
        raise ValueError(f"need (S, N) and (T, N), got {right_a.shape} and {right_b.shape}")
    if not right_a.size or not right_b.size:
        raise ValueError("there is nothing to compare")
    if _without_spread(right_a, right_b):
        return _of_single_runs(right_a, right_b)
    return _of_several_runs(right_a, right_b)


def mcnemar(only_a: int, only_b: int) -> float:
    """Computes McNemar's exact test, two-sided.

    Args:
      only_a: number of images that A gets right and B wrong.
      only_b: number of images that B gets right and A wrong.

    Returns:
      The p-value: the probability of a split at least as uneven, if both models are equally good.
      1 if the models never disagree.
    """
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b).pvalue)


def _without_spread(right_a: np.ndarray, right_b: np.ndarray) -> bool:
    """Whether a t-test has no variance to go by, or none between images."""
    if right_a.shape[1] == 1 or all((right == right[:1]).all() for right in (right_a, right_b)):
        return True
    by_image = right_a.mean(0) - right_b.mean(0)
    # Equal shares of several seeds may differ by rounding.
    return bool(np.ptp(by_image) < 1e-12) and _variance_between_seeds(right_a, right_b) < 1e-24


def _variance_between_seeds(*models: np.ndarray) -> float:
    """Variance of the difference in accuracy that comes from the seeds, 0 for a single one."""
    return sum(_seed_variance(right) for right in models if len(right) > 1)


def _seed_variance(right: np.ndarray) -> float:
    return float(right.mean(1).var(ddof=1)) / len(right)


def _of_single_runs(right_a: np.ndarray, right_b: np.ndarray) -> Difference:
    """Compares by the formulas of one seed. Several seeds count by their shares on each image."""
    by_image = right_a.mean(0) - right_b.mean(0)
    total = len(by_image)
    only_a, only_b = float(by_image.clip(0).sum()), float((-by_image).clip(0).sum())
    # Bonett and Price, "Adjusted Wald confidence interval for a difference of binomial proportions
    # based on paired data", 2012: one image is added to each kind of disagreement. Its coverage
    # holds near 0, where Wald's interval has no width.
    share_a, share_b = (only_a + 1) / (total + 2), (only_b + 1) / (total + 2)
    centre = share_a - share_b
    error = math.sqrt((share_a + share_b - centre**2) / (total + 2))
    reach = float(stats.norm.ppf(0.975)) * error
    several = min(len(right_a), len(right_b)) > 1
    return Difference(
        mean=(only_a - only_b) / total,
        low=max(-1.0, centre - reach),
        high=min(1.0, centre + reach),
        # Whole images. A share of one is not yet a disagreement.
        p=mcnemar(math.floor(only_a + 1e-9), math.floor(only_b + 1e-9)),
        from_images=error,
        from_seeds=math.sqrt(_variance_between_seeds(right_a, right_b)) if several else None,
    )


def _of_several_runs(right_a: np.ndarray, right_b: np.ndarray) -> Difference:
    by_image = right_a.mean(0) - right_b.mean(0)
    mean, total = float(by_image.mean()), len(by_image)
    # (variance of the mean, degrees of freedom) of every source of uncertainty.
    images = (float(by_image.var(ddof=1)) / total, total - 1)
    seeds = [
        (_seed_variance(right), len(right) - 1) for right in (right_a, right_b) if len(right) > 1
    ]
    variance = images[0] + sum(part for part, _ in seeds)
    error = math.sqrt(variance)
    freedom = variance**2 / sum(part**2 / free for part, free in (images, *seeds))
    reach = float(stats.t.ppf(0.975, freedom)) * error
    return Difference(
        mean=mean,
        low=max(-1.0, mean - reach),
        high=min(1.0, mean + reach),
        p=float(2 * stats.t.sf(abs(mean) / error, freedom)),
        from_images=math.sqrt(images[0]),
        from_seeds=math.sqrt(sum(part for part, _ in seeds)) if len(seeds) == 2 else None,
    )
