"""Fine-tuning of a backbone's last layers on a few photos, from the head of the probe (LP-FT)."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from cifsel.evaluation import features
from cifsel.models.classifier import Classifier
from cifsel.selfie.protocol import logistic, nested
from cifsel.selfie.protocol.folds import Folds

Array = jax.Array
Tree = Any
# After how many steps to look; 0 is the probe itself. Each step sees all photos.
EPOCHS = (0, 5, 10, 20, 40)
LEARNING_RATE = 3e-4
WEIGHT_DECAY = 0.05


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What the folds say, and the model of the last of them.

    Attributes:
      probabilities: (F, N, K) float32, calibrated; only those of photos held out count.
      epochs: (F,) int, as chosen in each fold.
      temperature: (F,) float32.
      losses: (F, E) float32, nats, at EPOCHS, of the photos held out within the rest.
      backbone: parameters of the tuned layers, as the last fold left them.
      kernel: (D, K) float32 of its head.
      bias: (K,) float32.
    """

    probabilities: np.ndarray
    epochs: np.ndarray
    temperature: np.ndarray
    losses: np.ndarray
    backbone: Tree
    kernel: np.ndarray
    bias: np.ndarray


def head_maps(model: Classifier, layers: tuple[str, ...]) -> Callable[[Tree, Array], Array]:
    """Jitted (variables, images) -> what goes into the first of the layers.

    Args:
      model: the classifier.
      layers: the last ones of the backbone.
    """
    names = model.backbone.layer_names
    before = names[names.index(layers[0]) - 1]

    return jax.jit(
        lambda variables, images: features.layer_maps(model, variables, images, [before])[0]
    )


def tail(model: Classifier, layers: tuple[str, ...], variables: Tree, maps: Array) -> Array:
    """Runs the last layers alone: (B, h, w, C) -> (B, D) float32, averaged over positions."""

    def skip(following: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        path = context.module.path
        if len(path) == 2 and path[0] == "backbone" and path[1] not in layers:
            return args[0]
        return following(*args, **kwargs)

    with nn.intercept_methods(skip):
        found = model.apply(variables, maps, method=lambda module, x: module.backbone(x))
    return jnp.asarray(found, jnp.float32).mean((1, 2))


def run(
    model: Classifier,
    variables: Tree,
    *,
    maps: tuple[np.ndarray, np.ndarray],
    rotated: logistic.Rotated,
    labels: np.ndarray,
    folds: Folds,
    layers: tuple[str, ...],
    l2: tuple[float, ...],
    num_classes: int,
) -> Tuned:
    """Tunes in every fold; how long, and how sure to be, is chosen in the rest of it.

    Args:
      model: the classifier.
      variables: of its backbone.
      maps: from `head_maps`, (N, h, w, C) of the photos and of their mirror images.
      rotated: features of the last layer, averaged over positions and both views.
      labels: (N,) int32.
      folds: F of them.
      layers: the ones to tune.
      l2: penalties of the probe.
      num_classes: K.
    """
    probes = nested.run(rotated.points[None], labels, folds, l2, num_classes)
    backbone = {name: variables["params"]["backbone"][name] for name in layers}
    step, predict = _compiled(model, variables["batch_stats"], layers)
    found = []
    for number in range(len(folds.test)):
        held_out = np.concatenate([folds.inner[number], np.zeros((1, len(labels)), bool)])
        kept = folds.train[number] & ~held_out
        own = np.broadcast_to(labels, kept.shape)
        weights = nested.balanced(jnp.asarray(own), jnp.asarray(kept), num_classes)
        penalty = l2[probes.l2[number]]
        params = _start(backbone, rotated, labels, weights, l2=penalty, num_classes=num_classes)
        kept_params, logits = {}, []
        state = jax.vmap(_optimizer().init)(params)
        for epoch in range(EPOCHS[-1] + 1):
            if epoch in EPOCHS:
                kept_params[epoch] = params
                logits.append(sum(predict(params, view) for view in maps) / 2)
            if epoch < EPOCHS[-1]:
                params, state = step(params, state, maps[epoch % 2], labels, weights)
        found.append((*_choose(np.stack(logits), labels, folds.inner[number]), kept_params))
    probabilities, epochs, temperature, losses, kept_params = zip(*found, strict=True)
    last = jax.tree.map(lambda leaf: np.asarray(leaf[-1]), kept_params[-1][epochs[-1]])
    return Tuned(
        np.stack(probabilities),
        np.array(epochs),
        np.array(temperature, np.float32),
        np.stack(losses),
        last["backbone"],
        last["kernel"],
        last["bias"],
    )


def _optimizer() -> optax.GradientTransformation:
    return optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY)


def _compiled(
    model: Classifier, batch_stats: Tree, layers: tuple[str, ...]
) -> tuple[Callable[..., Any], Callable[..., Array]]:
    """A step, and the logits, of many fits at once; a loop of steps is slow on a CPU."""

    def logits(params: Tree, maps: Array) -> Array:
        variables = {"params": {"backbone": params["backbone"]}, "batch_stats": batch_stats}
        return tail(model, layers, variables, maps) @ params["kernel"] + params["bias"]

    def step(
        params: Tree, state: Tree, maps: Array, labels: Array, weights: Array
    ) -> tuple[Tree, Tree]:
        def loss(params: Tree) -> Array:
            losses = optax.softmax_cross_entropy_with_integer_labels(logits(params, maps), labels)
            return (losses * weights).sum() / weights.sum()

        updates, state = _optimizer().update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    return (
        jax.jit(jax.vmap(step, in_axes=(0, 0, None, None, 0))),
        jax.jit(jax.vmap(logits, in_axes=(0, None))),
    )


def _start(
    backbone: Tree,
    rotated: logistic.Rotated,
    labels: np.ndarray,
    weights: Array,
    *,
    l2: float,
    num_classes: int,
) -> Tree:
    """Parameters of every fit, with the head that the probe finds on the same photos."""
    count = len(weights)
    own = jnp.broadcast_to(jnp.asarray(labels), (count, len(labels)))
    kernel, bias = logistic.solve(
        jnp.asarray(rotated.points), own, weights, jnp.float32([l2]), num_classes=num_classes
    )
    heads = [
        rotated.unrotate(np.asarray(kernel[:, :, i, 0]), np.asarray(bias[:, i, 0]))
        for i in range(count)
    ]
    return {
        "backbone": jax.tree.map(lambda p: jnp.repeat(p[None], count, axis=0), backbone),
        "kernel": jnp.stack([kernel for kernel, _ in heads]),
        "bias": jnp.stack([bias for _, bias in heads]),
    }


def _choose(
    logits: np.ndarray, labels: np.ndarray, inner: np.ndarray
) -> tuple[np.ndarray, int, float, np.ndarray]:
    """How long to tune and the temperature, by what the inner ways hold out.

    Args:
      logits: (E, J + 1, N, K) at EPOCHS, of the J inner ways and of all the rest.
      labels: (N,) int32.
      inner: (J, N) bool.

    Returns:
      Calibrated probabilities (N, K) from all the rest; the epochs; the temperature; the losses
      (E,).
    """
    held_out = np.einsum("ejnk,jn->enk", logits[:, :-1], inner.astype(np.float32))
    best, temperature, losses = nested.calibrate(held_out, labels, np.any(inner, axis=0))
    final = jax.nn.softmax(logits[best, -1] / temperature)
    return np.asarray(final), EPOCHS[best], temperature, losses
