"""Which photos are held out: whole groups at a time, so that nobody is tested on a copy."""

import dataclasses
import warnings

import numpy as np
from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold

from cifsel.errors import UserError

# Each class is then on both sides of a split of what is left by a split.
LEAST_GROUPS = 4


@dataclasses.dataclass(frozen=True)
class Folds:
    """F ways to hold out photos, and within each J ways to hold out some of the rest.

    Attributes:
      test: bool (F, N), the photos held out; every repetition holds out each photo once.
      inner: bool (F, J, N), those held out of the rest for choices; where a class has too few
        groups for J ways, the last ones are empty.
      repeats: how many times each photo is in `test`.
    """

    test: np.ndarray
    inner: np.ndarray
    repeats: int

    @property
    def train(self) -> np.ndarray:
        """Bool (F, N)."""
        return ~self.test


def check(labels: np.ndarray, groups: np.ndarray, class_names: tuple[str, ...]) -> None:
    """Makes sure that there is enough to hold out.

    Args:
      labels: (N,) int32, 0..K-1.
      groups: (N,) int32.
      class_names: K names.

    Raises:
      UserError: a class has fewer than `LEAST_GROUPS` groups.
    """
    for name, count in zip(class_names, _groups_per_class(labels, groups), strict=True):
        if count < LEAST_GROUPS:
            raise UserError(
                f"photos of '{name}' come from {count} separate occasions or people; expected"
                f" {LEAST_GROUPS} or more, as copies, bursts and people are held out together:"
                " add photos, or lower --config.burst_seconds"
            )


def repeated(
    labels: np.ndarray, groups: np.ndarray, *, folds: int, repeats: int, seed: int
) -> Folds:
    """Repeated stratified k-fold by groups.

    Args:
      labels: (N,) int32.
      groups: (N,) int32.
      folds: k; fewer where a class has fewer groups.
      repeats: how many times, each shuffled anew.
      seed: of the shuffling.
    """
    test = np.concatenate(
        [_split(labels, groups, folds, [seed, repeat]) for repeat in range(repeats)]
    )
    return Folds(test, _inner(labels, groups, test, folds, seed), repeats)


def leave_one_out(labels: np.ndarray, groups: np.ndarray, *, folds: int, seed: int) -> Folds:
    """Each group held out by itself; choices by `folds` within the rest."""
    splits = LeaveOneGroupOut().split(labels, groups=groups)
    test = np.stack([_mask(held_out, len(labels)) for _, held_out in splits])
    return Folds(test, _inner(labels, groups, test, folds, seed), 1)


def nothing_held_out(labels: np.ndarray, groups: np.ndarray, *, folds: int, seed: int) -> Folds:
    """A single fold that learns from all photos; choices by `folds` within them."""
    test = np.zeros((1, len(labels)), bool)
    return Folds(test, _inner(labels, groups, test, folds, seed), 1)


def first_repeat(folds: Folds) -> Folds:
    """The first repetition alone."""
    count = len(folds.test) // folds.repeats
    return Folds(folds.test[:count], folds.inner[:count], 1)


def thinned(folds: Folds, labels: np.ndarray, groups: np.ndarray, share: float, seed: int) -> Folds:
    """The same photos held out, but only a share of the groups of each class to learn from.

    Args:
      folds: from `repeated`.
      labels: (N,) int32.
      groups: (N,) int32.
      share: of the groups, above 0 and at most 1; two groups of each class remain at least.
      seed: of the drawing.

    Returns:
      Folds whose `test` also has the photos that are left out; who scores them must use that of
      `folds`.
    """
    rng = np.random.default_rng(seed)
    left_out = folds.test.copy()
    for number, train in enumerate(folds.train):
        there = _groups_per_class(labels[train], groups[train])
        wanted = np.maximum(2, np.round(share * there))
        for group in rng.permutation(np.unique(groups[train])):
            classes = np.unique(labels[train & (groups == group)])
            # One that spans classes stays for the sake of any of them.
            if (wanted[classes] > 0).any():
                wanted[classes] -= 1
            else:
                left_out[number] |= groups == group
    most = max(2, round(share * folds.inner.shape[1]))
    return Folds(left_out, _inner(labels, groups, left_out, most, seed), folds.repeats)


def _inner(
    labels: np.ndarray, groups: np.ndarray, test: np.ndarray, folds: int, seed: int
) -> np.ndarray:
    inner = np.zeros((len(test), folds, len(labels)), bool)
    for number, held_out in enumerate(test):
        rest = np.flatnonzero(~held_out)
        found = _split(labels[rest], groups[rest], folds, [seed, number, 1])
        inner[number, : len(found)][:, rest] = found
    return inner


def _split(labels: np.ndarray, groups: np.ndarray, folds: int, seed: list[int]) -> np.ndarray:
    """One stratified k-fold by groups, bool (k, N)."""
    k = max(2, min(folds, int(_groups_per_class(labels, groups).min())))
    state = int(np.random.default_rng(seed).integers(2**31))
    with warnings.catch_warnings():
        # Of classes with fewer photos than folds, which `k` allows for as far as can be.
        warnings.simplefilter("ignore", UserWarning)
        splitter = StratifiedGroupKFold(k, shuffle=True, random_state=state)
        return np.stack(
            [_mask(held_out, len(labels)) for _, held_out in splitter.split(labels, labels, groups)]
        )


def _groups_per_class(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return np.array([len(np.unique(groups[labels == k])) for k in range(labels.max() + 1)])


def _mask(positions: np.ndarray, count: int) -> np.ndarray:
    return np.isin(np.arange(count), positions)
