"""Nested cross-validation: what is chosen, is chosen without the photos that it is scored on."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from cifsel.selfie.protocol import logistic
from cifsel.selfie.protocol.folds import Folds

Array = jax.Array
# What the temperature of the softmax may be.
TEMPERATURES = np.geomspace(0.1, 10.0, 21).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the folds say.

    Attributes:
      probabilities: (F, N, K) float32, calibrated; only those of photos held out count.
      feature: (F,) int, which features each fold chose.
      l2: (F,) int, which penalty.
      temperature: (F,) float32, by which each fold divides its logits.
    """

    probabilities: np.ndarray
    feature: np.ndarray
    l2: np.ndarray
    temperature: np.ndarray


def run(
    points: np.ndarray, labels: np.ndarray, folds: Folds, l2: Sequence[float], num_classes: int
) -> Outcome:
    """Chooses features, penalty and temperature in the rest of each fold, and predicts.

    Args:
      points: (S, N, N) float32, `Rotated.points` of S kinds of features.
      labels: (N,) int32, or (F, N), for folds that see other labels each.
      folds: F of them.
      l2: L penalties.
      num_classes: K.
    """
    own = np.broadcast_to(labels, folds.test.shape)
    arrays = (points, own, folds.train, folds.inner)
    found = _run(*map(jnp.asarray, arrays), jnp.asarray(l2, jnp.float32), num_classes=num_classes)
    return Outcome(*map(np.asarray, found))


@functools.partial(jax.jit, static_argnames="num_classes")
def _run(
    points: Array, labels: Array, train: Array, inner: Array, l2: Array, *, num_classes: int
) -> tuple[Array, Array, Array, Array]:
    count, ways, photos = inner.shape
    repeated = jnp.repeat(labels, ways, axis=0)
    within_rest = (train[:, None] & ~inner).reshape(-1, photos)
    weights = balanced(repeated, within_rest, num_classes)

    def one(points: Array) -> tuple[Array, Array]:
        """Logits of what the inner ways hold out, and of all photos from all the rest."""
        fit = functools.partial(logistic.solve, points, l2=l2, num_classes=num_classes)
        within = logistic.logits(points, *fit(repeated, weights))
        within = within.reshape(photos, num_classes, count, ways, len(l2))
        # Each photo of the rest is held out by one of the ways.
        held_out = jnp.einsum("nkfjl,fjn->flnk", within, inner.astype(jnp.float32))
        final = logistic.logits(points, *fit(labels, balanced(labels, train, num_classes)))
        return held_out, jnp.moveaxis(final, (2, 3), (0, 1))

    # One kind of features after the other: all at once would take S times the memory.
    held_out, final = jax.lax.map(one, points)  # (S, F, L, N, K) each
    held_out = jnp.moveaxis(held_out, 0, 1).reshape(count, -1, photos, num_classes)
    final = jnp.moveaxis(final, 0, 1).reshape(count, -1, photos, num_classes)
    best, temperature, _ = _best(held_out, labels, inner.any(1))
    logits = final[jnp.arange(count), best] / temperature[:, None, None]
    return jax.nn.softmax(logits), best // len(l2), best % len(l2), temperature


def calibrate(
    logits: np.ndarray, labels: np.ndarray, kept: np.ndarray
) -> tuple[int, float, np.ndarray]:
    """The best of several settings by held-out logits, its temperature, and the loss of each.

    Args:
      logits: (I, N, K) of I settings.
      labels: (N,) int32.
      kept: (N,) bool, the photos that count.

    Returns:
      Its position, its temperature, and (I,) losses, nats, each at the temperature that suits it.
    """
    arrays = (jnp.asarray(array)[None] for array in (logits, labels, kept))
    best, temperature, losses = _best(*arrays)
    return int(best[0]), float(temperature[0]), np.asarray(losses[0])


def _best(held_out: Array, labels: Array, kept: Array) -> tuple[Array, Array, Array]:
    """Of I settings (F, I, N, K) the best and its temperature, (F,) each, and all losses (F, I)."""
    num_classes = held_out.shape[-1]
    share = balanced(labels, kept, num_classes)
    share = (share / share.sum(1, keepdims=True))[..., None] * _platt(labels, kept, num_classes)

    def loss(temperature: Array) -> Array:
        return -jnp.einsum("fink,fnk->fi", jax.nn.log_softmax(held_out / temperature), share)

    # Each setting at the temperature that suits it, or the penalty would be chosen for its
    # effect on confidence, which the temperature mends, rather than on ranks.
    losses = jax.lax.map(loss, jnp.asarray(TEMPERATURES))  # (T, F, I)
    best = losses.min(0).argmin(1)
    chosen = losses[:, jnp.arange(len(best)), best].argmin(0)
    return best, jnp.asarray(TEMPERATURES)[chosen], losses.min(0)


def _platt(labels: Array, kept: Array, num_classes: int) -> Array:
    """Targets (F, N, K) that leave room for doubt: of n photos of a class, (n + 1) / (n + 2) right.

    With a handful of photos, all of them right, the best temperature would else be zero. Platt
    1999, "Probabilistic outputs for support vector machines", section 2.2.
    """
    targets = jax.nn.one_hot(labels, num_classes)
    members = (targets * kept[..., None]).sum(1, keepdims=True)
    doubt = (targets / (members + 2.0)).sum(-1, keepdims=True)
    return targets * (1.0 - doubt) + (1.0 - targets) * doubt / (num_classes - 1)


def balanced(labels: Array, kept: Array, num_classes: int) -> Array:
    """Weights (F, N) float32 by which all classes count alike among the photos that are kept.

    How many photos there are of each class says what was collected, not what is likely; and
    whenever a photo is held out its class has one fewer left, so that guessing the more frequent
    class would always be wrong.

    Args:
      labels: (F, N) int32.
      kept: (F, N) bool.
      num_classes: K.
    """
    members = jax.nn.one_hot(labels, num_classes) * kept[..., None]
    return (members / jnp.maximum(members.sum(1, keepdims=True), 1.0)).sum(-1)
