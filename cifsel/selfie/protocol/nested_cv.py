"""Nested cross-validation: settings are chosen without the photos that they are scored on.

Either each fold chooses one kind of features and a penalty. Or the logits of all kinds are
averaged, and each fold only fits the temperature.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from cifsel.selfie.protocol import logistic
from cifsel.selfie.protocol.folds import Folds

# The temperatures that are tried to calibrate the softmax.
TEMPERATURES = np.geomspace(0.1, 10.0, 41).astype(np.float32)
# The prior of each fit of the temperature, and the number of photos that it weighs as much as.
# Without it, the temperatures of few photos differ by a factor of three. Averaged logits ask for
# 0.6 out of fold. A classifier of all photos is surer, and rightly: experiments/LOG.md.
USUAL_TEMPERATURE, PRIOR_PHOTOS = 0.5, 2.4
# About so many fits are computed at once. One number means that it compiles once.
_FITS = 150


@dataclasses.dataclass(frozen=True, eq=False)
class NestedPredictions:
    """The predictions of F folds, and the settings that each fold chose.

    Attributes:
      probabilities: float32, calibrated. Only those of the photos that a fold holds out are out of
        fold.
      feature: the position of the features that each fold chose. 0 if their logits are averaged.
      l2: the position of the penalty that it chose.
      temperature: the temperature by which it divides its logits, float32.
    """

    probabilities: Float[np.ndarray, "f n k"]
    feature: Int[np.ndarray, " f"]
    l2: Int[np.ndarray, " f"]
    temperature: Float[np.ndarray, " f"]


def nested_cross_validation(
    points: Float[np.ndarray, "s n n"],
    labels: Int[np.ndarray, "*f n"],
    folds: Folds,
    l2: Sequence[float],
    num_classes: int,
    *,
    average: bool = False,
) -> NestedPredictions:
    """Chooses features, penalty and temperature on the training photos of each fold, and predicts.

    Args:
      points: `RotatedFeatures.points` of S kinds of features.
      labels: the classes, 0..K-1, the same for all folds or a row for each of F folds.
      folds: F of them.
      l2: L penalties.
      num_classes: K.
      average: average the logits of all kinds of features, and do not choose among them. Where the
        inner folds are empty, the temperature is the usual one.
    """
    count, inner_folds = folds.inner.shape[:2]
    block = max(1, _FITS // (inner_folds + 1))
    own = np.broadcast_to(labels, folds.test.shape)
    padding = [(0, -count % block), (0, 0)]
    # Folds of the padding have no photos to learn from, so that their fits end at once.
    train, rows = np.pad(folds.train, padding), np.pad(own, padding)
    inner = np.pad(folds.inner, [padding[0], (0, 0), (0, 0)])
    kinds, penalties = jnp.asarray(points), jnp.asarray(l2, jnp.float32)
    outputs = [
        _predict_block(
            kinds,
            *(jnp.asarray(array[start : start + block]) for array in (rows, train, inner)),
            penalties,
            num_classes=num_classes,
            average=average,
        )
        for start in range(0, count, block)
    ]
    joined = [np.concatenate(parts)[:count] for parts in zip(*outputs, strict=True)]
    return NestedPredictions(*joined)


@functools.partial(jax.jit, static_argnames=("num_classes", "average"))
def _predict_block(
    points: Array,
    labels: Array,
    train: Array,
    inner: Array,
    l2: Array,
    *,
    num_classes: int,
    average: bool,
) -> tuple[Array, Array, Array, Array]:
    count, inner_folds, photos = inner.shape
    # The fits of the inner folds of each fold, and then its own.
    learned = jnp.concatenate([train[:, None] & ~inner, train[:, None]], 1).reshape(-1, photos)
    repeated = jnp.repeat(labels, inner_folds + 1, axis=0)
    weights = balanced(repeated, learned, num_classes)

    def fit_features(points: Array) -> tuple[Array, Array]:
        """Returns logits of the photos that inner folds hold out, and of all from all training."""
        fitted = logistic.solve(points, repeated, weights, l2, num_classes=num_classes)
        logits = logistic.logits(points, *fitted)
        logits = logits.reshape(photos, num_classes, count, inner_folds + 1, len(l2))
        # Each training photo is held out by one of the inner folds.
        within, own = logits[:, :, :, :-1], logits[:, :, :, -1]
        held_out = jnp.einsum("nkfjl,fjn->flnk", within, inner.astype(jnp.float32))
        return held_out, jnp.moveaxis(own, (2, 3), (0, 1))

    # Kinds of features are fitted in turn. All at once would take S times the memory.
    held_out, final = jax.lax.map(fit_features, points)  # (S, F, L, N, K) each
    if average:
        held_out, final = (values.mean(0, keepdims=True) for values in (held_out, final))
    held_out = jnp.moveaxis(held_out, 0, 1).reshape(count, -1, photos, num_classes)
    final = jnp.moveaxis(final, 0, 1).reshape(count, -1, photos, num_classes)
    kept = inner.any(1)
    if average:
        best, temperature = jnp.zeros(count, jnp.int32), _temperature(held_out[:, 0], labels, kept)
    else:
        best, temperature = choose_setting(held_out, labels, kept)
    logits = final[jnp.arange(count), best] / temperature[:, None, None]
    return jax.nn.softmax(logits), best // len(l2), best % len(l2), temperature


def _temperature(held_out: Array, labels: Array, kept: Array) -> Array:
    """Fits the temperature (F,) of held-out logits (F, N, K), with a prior on its logarithm.

    Nothing was chosen by these logits, so that they are no better than those of new photos.
    Smoothed targets, which are for chosen ones, would make answers too timid.
    """
    share = balanced(labels, kept, held_out.shape[-1])
    share /= jnp.maximum(share.sum(1, keepdims=True), 1e-9)
    photos = jnp.maximum(kept.sum(1), 1)

    def loss(temperature: Array) -> Array:
        shares = jax.nn.log_softmax(held_out / temperature)
        true = jnp.take_along_axis(shares, labels[..., None], axis=2)[..., 0]
        off = jnp.log(temperature / USUAL_TEMPERATURE)
        return PRIOR_PHOTOS / photos * off**2 - (true * share).sum(1)

    losses = jax.lax.map(loss, jnp.asarray(TEMPERATURES))  # (T, F)
    return jnp.asarray(TEMPERATURES)[losses.argmin(0)]


def choose_setting(
    held_out: Float[Array, "f i n k"], labels: Int[Array, "f n"], kept: Bool[Array, "f n"]
) -> tuple[Int[Array, " f"], Float[Array, " f"]]:
    """Chooses the best of I settings, and its calibration temperature, by held-out logits.

    Args:
      held_out: logits of each setting.
      labels: the classes, 0..K-1.
      kept: the photos that count.

    Returns:
      The position of the best setting, and its temperature.
    """
    num_classes = held_out.shape[-1]
    share = balanced(labels, kept, num_classes)
    targets = _platt_targets(labels, kept, num_classes)
    share = (share / share.sum(1, keepdims=True))[..., None] * targets

    def loss(temperature: Array) -> Array:
        return -jnp.einsum("fink,fnk->fi", jax.nn.log_softmax(held_out / temperature), share)

    # Each setting is judged at the temperature that suits it. Else the penalty would be chosen for
    # its effect on confidence, which the temperature corrects, rather than on ranks.
    losses = jax.lax.map(loss, jnp.asarray(TEMPERATURES))  # (T, F, I)
    best = losses.min(0).argmin(1)
    chosen = losses[:, jnp.arange(len(best)), best].argmin(0)
    return best, jnp.asarray(TEMPERATURES)[chosen]


def _platt_targets(labels: Array, kept: Array, num_classes: int) -> Array:
    """Makes smoothed targets (F, N, K): for a class of n photos, (n + 1) / (n + 2).

    If a handful of photos were all right, the best temperature would else be zero. Platt 1999,
    "Probabilistic outputs for support vector machines", section 2.2.
    """
    targets = jax.nn.one_hot(labels, num_classes)
    members = (targets * kept[..., None]).sum(1, keepdims=True)
    doubt = (targets / (members + 2.0)).sum(-1, keepdims=True)
    return targets * (1.0 - doubt) + (1.0 - targets) * doubt / (num_classes - 1)


def balanced(
    labels: Int[Array, "f n"], kept: Bool[Array, "f n"], num_classes: int
) -> Float[Array, "f n"]:
    """Makes weights, float32, by which all classes count the same among the photos that are kept.

    The number of photos of a class says which photos were collected, not which are likely. Also,
    each photo that is held out leaves its class with one fewer. A model that guessed the more
    frequent class would always be wrong.

    Args:
      labels: the classes, 0..K-1.
      kept: the photos that count.
      num_classes: K.
    """
    members = jax.nn.one_hot(labels, num_classes) * kept[..., None]
    return (members / jnp.maximum(members.sum(1, keepdims=True), 1.0)).sum(-1)
