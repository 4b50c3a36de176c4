"""Fine-tuning of a backbone's last layers on a few photos, starting from a probe (LP-FT).

LP-FT is linear probing, then fine-tuning (Kumar et al. 2022).
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Array, Float, Int, Num

from cifsel.evaluation import features
from cifsel.models.classifier import Classifier
from cifsel.runtime.bars import tracked
from cifsel.selfie.protocol import logistic
from cifsel.selfie.protocol.folds import Folds
from cifsel.selfie.protocol.logistic import RotatedFeatures
from cifsel.selfie.protocol.nested_cv import balanced, choose_setting, nested_cross_validation

Tree = Any
# The numbers of epochs to choose from. 0 is the probe itself. An epoch is one step on all photos.
EPOCHS = (0, 5, 10, 20, 40)
LEARNING_RATE = 3e-4
WEIGHT_DECAY = 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class FineTuned:
    """The predictions of F folds, and the model of the last of them.

    Attributes:
      probabilities: float32, calibrated. Only those of the photos that a fold holds out are out of
        fold.
      epochs: the number of epochs that each fold chose.
      temperature: the temperature by which each fold divides its logits, float32.
      losses: of the photos that the inner folds hold out, at each of `EPOCHS`, in nats.
      backbone: parameters of the tuned layers, from the last fold.
      kernel: of the head, from the last fold, float32.
      bias: of the head, from the last fold, float32.
    """

    probabilities: Float[np.ndarray, "f n k"]
    epochs: Int[np.ndarray, " f"]
    temperature: Float[np.ndarray, " f"]
    losses: Float[np.ndarray, "f e"]
    backbone: Tree
    kernel: Float[np.ndarray, "d k"]
    bias: Float[np.ndarray, " k"]


def layer_inputs(model: Classifier, layers: tuple[str, ...]) -> Callable[[Tree, Array], Array]:
    """Makes the jitted function of variables and images that computes the inputs of `layers`.

    Args:
      model: a classifier.
      layers: the last ones of its backbone, not all of them.
    """
    before = _layer_before(model, layers)
    return jax.jit(
        lambda variables, images: features.layer_maps(model, variables, images, [before])[0]
    )


def _layer_before(model: Classifier, layers: tuple[str, ...]) -> str:
    names = model.backbone.layer_names
    return names[names.index(layers[0]) - 1]


def last_layers(
    model: Classifier, layers: tuple[str, ...], variables: Tree, maps: Num[Array, "b h w c"]
) -> Float[Array, "b d"]:
    """Runs the last layers alone, and averages over positions. The features are float32."""
    before = _layer_before(model, layers)

    def replace(following: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        path = context.module.path
        if len(path) == 2 and path[0] == "backbone" and path[1] not in layers:
            return maps if path[1] == before else args[0]
        return following(*args, **kwargs)

    # The backbone takes images. These are never looked at, as the first layers do not run.
    images = jnp.zeros((len(maps), 1, 1, 3))
    with nn.intercept_methods(replace):
        output = model.apply(variables, images, method=lambda module, x: module.backbone(x))
    return jnp.asarray(output, jnp.float32).mean((1, 2))


def fine_tune_in_folds(
    model: Classifier,
    variables: Tree,
    *,
    maps: tuple[Float[np.ndarray, "n h w c"], Float[np.ndarray, "n h w c"]],
    rotated: RotatedFeatures,
    labels: Int[np.ndarray, " n"],
    folds: Folds,
    layers: tuple[str, ...],
    l2: tuple[float, ...],
    num_classes: int,
) -> FineTuned:
    """Fine-tunes in every fold. Epochs and temperature are chosen by its inner folds.

    Args:
      model: a classifier.
      variables: of its backbone.
      maps: from `layer_inputs`, of the photos and of their mirror images.
      rotated: features of the last layer, averaged over positions and over both views.
      labels: the classes, 0..K-1.
      folds: F of them.
      layers: the layers to tune.
      l2: penalties of the probe.
      num_classes: K.
    """
    probes = nested_cross_validation(rotated.points[None], labels, folds, l2, num_classes)
    backbone = {name: variables["params"]["backbone"][name] for name in layers}
    step, predict = _compiled(model, variables["batch_stats"], layers)
    by_fold = []
    for number in tracked(range(len(folds.test)), "fine-tuning in folds"):
        # One fit for each inner fold, and one that learns from all training photos.
        held_out = np.concatenate([folds.inner[number], np.zeros((1, len(labels)), bool)])
        kept = folds.train[number] & ~held_out
        own = np.broadcast_to(labels, kept.shape)
        weights = balanced(jnp.asarray(own), jnp.asarray(kept), num_classes)
        penalty = l2[probes.l2[number]]
        start = _start(backbone, rotated, labels, weights, l2=penalty, num_classes=num_classes)
        kept_params, logits = {}, []
        for epoch, params in _train(step, start, maps, labels, weights):
            kept_params[epoch] = params
            logits.append(sum(predict(params, view) for view in maps) / 2)
        chosen = _choose_epochs(np.stack(logits), labels, folds.inner[number])
        by_fold.append((*chosen, kept_params))
    probabilities, epochs, temperature, losses, kept_params = zip(*by_fold, strict=True)
    last = jax.tree.map(lambda leaf: np.asarray(leaf[-1]), kept_params[-1][epochs[-1]])
    return FineTuned(
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
    """Makes a training step and the logits of many fits at once.

    Steps are not fused into a loop, which is slow on a CPU.
    """

    def logits(params: Tree, maps: Array) -> Array:
        variables = {"params": {"backbone": params["backbone"]}, "batch_stats": batch_stats}
        return last_layers(model, layers, variables, maps) @ params["kernel"] + params["bias"]

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


def _train(
    step: Callable[..., Any],
    params: Tree,
    maps: tuple[np.ndarray, np.ndarray],
    labels: np.ndarray,
    weights: Array,
) -> Iterator[tuple[int, Tree]]:
    """Trains many fits at once, and yields each of `EPOCHS` with the parameters after it."""
    state = jax.vmap(_optimizer().init)(params)
    for epoch in range(EPOCHS[-1] + 1):
        if epoch in EPOCHS:
            yield epoch, params
        if epoch < EPOCHS[-1]:
            params, state = step(params, state, maps[epoch % 2], labels, weights)


def _start(
    backbone: Tree,
    rotated: RotatedFeatures,
    labels: np.ndarray,
    weights: Array,
    *,
    l2: float,
    num_classes: int,
) -> Tree:
    """Makes the first parameters of every fit, with the head of a probe on the same photos."""
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


def _choose_epochs(
    logits: np.ndarray, labels: np.ndarray, inner: np.ndarray
) -> tuple[np.ndarray, int, float, np.ndarray]:
    """Chooses the number of epochs and the temperature by the photos that inner folds hold out.

    Args:
      logits: (E, J + 1, N, K) at `EPOCHS`, of the J inner folds and of all training photos.
      labels: (N,) int32.
      inner: (J, N) bool.

    Returns:
      Calibrated probabilities (N, K) of the fit on all training photos, the epochs, the
      temperature, and the loss at each of `EPOCHS`.
    """
    held_out = np.einsum("ejnk,jn->enk", logits[:, :-1], inner.astype(np.float32))
    best, temperature, losses = choose_setting(held_out, labels, np.any(inner, axis=0))
    final = jax.nn.softmax(logits[best, -1] / temperature)
    return np.asarray(final), EPOCHS[best], temperature, losses
