"""Splits of photos into folds, by whole groups, so that nobody is tested on a copy."""

import dataclasses
import warnings
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Int
from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold

from cifsel.errors import UserError

# With so many, each class is on both sides of an inner split of the training part of a fold.
LEAST_GROUPS = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Folds:
    """F folds, each with J inner folds of its training photos.

    Attributes:
      test: the photos that each fold holds out. Every repetition holds out each photo once.
      inner: the training photos that each inner fold holds out, to choose settings. The last ones
        are empty where a class has fewer than J groups.
      repeats: the number of repetitions, of F / repeats folds each.
    """

    test: Bool[np.ndarray, "f n"]
    inner: Bool[np.ndarray, "f j n"]
    repeats: int

    @property
    def train(self) -> Bool[np.ndarray, "f n"]:
        """The photos that each fold learns from."""
        return ~self.test


def check(
    labels: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    class_names: tuple[str, ...],
    advice: Callable[[int], str],
) -> None:
    """Makes sure that each class has enough groups to hold some out.

    Args:
      labels: the classes, 0..K-1.
      groups: the groups to hold out together.
      class_names: K names.
      advice: says, of a class whose photos are in too few groups, what to do.

    Raises:
      UserError: a class has fewer than `LEAST_GROUPS` groups.
    """
    counts = _groups_per_class(labels, groups)
    for label, (name, count) in enumerate(zip(class_names, counts, strict=True)):
        photos = int((labels == label).sum())
        if photos < LEAST_GROUPS:
            raise UserError(
                f"{photos} photos of '{name}'; expected {LEAST_GROUPS} or more, so that some can be"
                " held out: add photos"
            )
        if count < LEAST_GROUPS:
            raise UserError(
                f"the {photos} photos of '{name}' come from"
                f" {'1 occasion or person' if count == 1 else f'{count} occasions or people'};"
                f" expected {LEAST_GROUPS} or more, as copies, bursts and people are held out"
                f" together: {advice(label)}"
            )


def repeated(
    labels: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    *,
    folds: int,
    repeats: int,
    seed: int,
    with_inner: bool = True,
) -> Folds:
    """Makes the folds of a repeated stratified k-fold cross-validation by groups.

    Args:
      labels: the classes, 0..K-1.
      groups: the groups to hold out together.
      folds: k. Fewer folds are made where a class has fewer groups.
      repeats: the number of repetitions, each shuffled anew.
      seed: of the shuffling.
      with_inner: make inner folds. Without, they are empty, so that confidence cannot be fitted.
    """
    test = np.concatenate(
        [_split(labels, groups, folds, [seed, repeat]) for repeat in range(repeats)]
    )
    made = Folds(test, np.zeros((len(test), folds, len(labels)), bool), repeats)
    if not with_inner:
        return made
    return dataclasses.replace(made, inner=_inner(labels, groups, test, folds, seed))


def leave_one_out(
    labels: Int[np.ndarray, " n"], groups: Int[np.ndarray, " n"], *, folds: int, seed: int
) -> Folds:
    """Makes a fold for each group, which holds out that group alone, with `folds` inner folds."""
    splits = LeaveOneGroupOut().split(labels, groups=groups)
    test = np.stack([_mask(held_out, len(labels)) for _, held_out in splits])
    return Folds(test, _inner(labels, groups, test, folds, seed), 1)


def nothing_held_out(
    labels: Int[np.ndarray, " n"], groups: Int[np.ndarray, " n"], *, folds: int, seed: int
) -> Folds:
    """Makes a single fold that learns from all photos, with `folds` inner folds."""
    test = np.zeros((1, len(labels)), bool)
    return Folds(test, _inner(labels, groups, test, folds, seed), 1)


def without_inner(folds: Folds) -> Folds:
    """The same folds with empty inner ones, for predictions whose confidence does not matter."""
    return dataclasses.replace(folds, inner=np.zeros_like(folds.inner))


def thinned(
    folds: Folds,
    labels: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    share: float,
    seed: int,
) -> Folds:
    """Leaves only a share of the groups of each class to learn from.

    Args:
      folds: from `repeated`.
      labels: the classes, 0..K-1.
      groups: the groups to hold out together.
      share: of the groups, above 0 and at most 1. At least two groups of each class remain.
      seed: of the choice of groups.

    Returns:
      Folds whose `test` includes the photos that are left out. Scores of the photos that `folds`
      holds out need `folds.test`.
    """
    rng = np.random.default_rng(seed)
    left_out = folds.test.copy()
    for number, train in enumerate(folds.train):
        available = _groups_per_class(labels[train], groups[train])
        wanted = np.maximum(2, np.round(share * available))
        for group in rng.permutation(np.unique(groups[train])):
            classes = np.unique(labels[train & (groups == group)])
            # A group of several classes stays if any of them wants it.
            if (wanted[classes] > 0).any():
                wanted[classes] -= 1
            else:
                left_out[number] |= groups == group
    if not folds.inner.any():
        return Folds(left_out, folds.inner, folds.repeats)
    most = folds.inner.shape[1]
    inner = _inner(labels, groups, left_out, max(2, round(share * most)), seed)
    # As many as `folds` has, of which the last ones are empty, so that nothing compiles anew.
    padding = [(0, 0), (0, most - inner.shape[1]), (0, 0)]
    return Folds(left_out, np.pad(inner, padding), folds.repeats)


def _inner(
    labels: np.ndarray, groups: np.ndarray, test: np.ndarray, folds: int, seed: int
) -> np.ndarray:
    inner = np.zeros((len(test), folds, len(labels)), bool)
    for number, held_out in enumerate(test):
        rest = np.flatnonzero(~held_out)
        split = _split(labels[rest], groups[rest], folds, [seed, number, 1])
        inner[number, : len(split)][:, rest] = split
    return inner


def _split(labels: np.ndarray, groups: np.ndarray, folds: int, seed: list[int]) -> np.ndarray:
    """Makes one stratified k-fold by groups, bool (k, N)."""
    k = max(2, min(folds, int(_groups_per_class(labels, groups).min())))
    state = int(np.random.default_rng(seed).integers(2**31))
    with warnings.catch_warnings():
        # It warns of classes with fewer photos than folds. `k` avoids them as far as it can.
        warnings.simplefilter("ignore", UserWarning)
        splitter = StratifiedGroupKFold(k, shuffle=True, random_state=state)
        return np.stack(
            [_mask(held_out, len(labels)) for _, held_out in splitter.split(labels, labels, groups)]
        )


def _groups_per_class(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return np.array([len(np.unique(groups[labels == k])) for k in range(labels.max() + 1)])


def _mask(positions: np.ndarray, count: int) -> np.ndarray:
    return np.isin(np.arange(count), positions)
