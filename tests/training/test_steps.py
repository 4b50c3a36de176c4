"""A training step against gradients of a loss that is written out here."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cifsel.data import augment
from cifsel.models.classifier import Classifier, Head, initial
from cifsel.training import optim, steps
from cifsel.training.objective import Objective
from cifsel.training.state import init_state

CLASSES, SIZE, RATE = 5, 32, 0.05
PLAIN = Objective(image_size=SIZE, resize="nearest", policy=augment.Policy())


@pytest.fixture(scope="module")
def model(build_tiny):
    return build_tiny(num_classes=CLASSES, hidden=7)


@pytest.fixture(scope="module")
def variables(model, variables_of):
    return variables_of(model, SIZE)


def make_batch(count=6, masked=2, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "inputs": jnp.asarray(rng.integers(0, 256, (count, 32, 32, 3)), jnp.uint8),
        "labels": jnp.asarray(rng.integers(0, CLASSES, count), jnp.int32),
        "mask": jnp.asarray(np.arange(count) < count - masked, jnp.float32),
    }


def setup(model, variables, objective=PLAIN, *, frozen=(), rate=RATE):
    """The state before the first step, and the compiled step: (state, batch, key) -> state."""
    by_layer = {name: float(name not in frozen) for name in model.backbone.layer_names}
    rates = optim.rates_by_parameter(variables["params"], by_layer)
    tx = optim.make("sgd", lambda step: rate, rates=rates, weight_decay=0.0, clip_norm=0.0)
    step = functools.partial(steps.train_step, model=model, tx=tx, rates=rates, objective=objective)
    return init_state(variables, tx, objective.ema_decay), jax.jit(step)


def assert_equal(a, b, **tolerance):
    jax.tree.map(functools.partial(np.testing.assert_allclose, **tolerance), a, b)


def differ(a, b):
    return [not np.array_equal(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)]


def written_out(model, variables, batch, *, smoothing=0.0, activity_l1=0.0):
    """Mean loss of the images that count, as a function of params, and their logits."""
    kept = np.flatnonzero(batch["mask"])
    images, labels = batch["inputs"][kept], np.asarray(batch["labels"])[kept]

    def logits_of(params):
        maps = model.apply(
            {"params": params, "batch_stats": variables["batch_stats"]},
            images,
            method="feature_map",
        )
        pooled, head = maps.mean((1, 2)), params["head"]
        hidden = pooled @ head["hidden"]["kernel"] + head["hidden"]["bias"][None]
        hidden = jnp.maximum(hidden, 0)
        return hidden @ head["logits"]["kernel"] + head["logits"]["bias"][None], hidden

    def loss(params):
        logits, hidden = logits_of(params)
        logp = logits - jnp.log(jnp.exp(logits).sum(1, keepdims=True))
        target = (1 - smoothing) * jnp.eye(CLASSES)[labels] + smoothing / CLASSES
        cross_entropy = -(target * logp).sum(1).mean()
        total = cross_entropy + activity_l1 * jnp.abs(hidden).sum(1).mean()
        return total, (cross_entropy, logits)

    return loss, labels


@pytest.mark.parametrize(
    "terms", [{}, {"label_smoothing": 0.3}, {"activity_l1": 0.05}], ids=["plain", "smooth", "l1"]
)
@pytest.mark.slow
def test_step_descends_the_gradient(model, variables, terms):
    objective = dataclasses.replace(PLAIN, **terms)
    batch = make_batch()
    state, step = setup(model, variables, objective)
    after = step(state, batch, jax.random.key(0))

    loss, labels = written_out(
        model,
        variables,
        batch,
        smoothing=objective.label_smoothing,
        activity_l1=objective.activity_l1,
    )
    grads, (cross_entropy, logits) = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    # Nesterov's first step is 1.9 gradients.
    expected = jax.tree.map(lambda p, g: p - RATE * 1.9 * g, variables["params"], grads)
    assert_equal(after.params, expected, rtol=1e-4, atol=1e-6)
    assert all(differ(after.params, variables["params"]))
    assert not any(differ(after.batch_stats, variables["batch_stats"]))  # frozen_bn
    assert not any(differ(after.variables()["params"], after.params))  # nothing is averaged
    norm = np.sqrt(sum(np.sum(np.square(g)) for g in jax.tree.leaves(grads)))
    sums = after.sums
    assert (after.step, sums.images, sums.steps) == (1, 4, 1)
    assert sums.loss == pytest.approx(4 * float(cross_entropy), rel=1e-5)
    assert sums.correct == np.sum(np.argmax(logits, 1) == labels)
    assert sums.grad_norm == pytest.approx(norm, rel=1e-4)


def test_masked_rows_have_no_influence(model, variables):
    batch, other = make_batch(), make_batch(seed=1)
    state, step = setup(model, variables, dataclasses.replace(PLAIN, label_smoothing=0.1))
    changed = {
        name: jnp.concatenate([batch[name][:4], other[name][4:]]) for name in ("inputs", "labels")
    }
    assert_equal(
        step(state, batch, jax.random.key(0)),
        step(state, changed | {"mask": batch["mask"]}, jax.random.key(0)),
        rtol=1e-6,
    )
    counted = step(state, batch | {"mask": jnp.ones(6)}, jax.random.key(0))
    assert any(differ(counted.params, step(state, batch, jax.random.key(0)).params))


def test_batch_statistics_move_unless_frozen(model, variables):
    state, step = setup(model, variables, dataclasses.replace(PLAIN, frozen_bn=False))
    after = step(state, make_batch(), jax.random.key(0))
    assert all(differ(after.batch_stats, variables["batch_stats"]))


def test_layers_of_rate_zero_stay(model, variables):
    state, step = setup(model, variables, frozen=("first",))
    after = step(state, make_batch(), jax.random.key(0)).params
    before = variables["params"]
    assert not any(differ(after["backbone"]["first"], before["backbone"]["first"]))
    assert all(differ(after["backbone"]["second"], before["backbone"]["second"]))


@pytest.mark.slow
def test_frozen_backbone_trains_the_head_and_feature_maps_do_the_same(build_tiny, variables):
    """With dropout: both ways draw the same."""
    model = build_tiny(num_classes=CLASSES, hidden=7, dropout=0.5)
    objective = dataclasses.replace(PLAIN, frozen_backbone=True, frozen_bn=False)
    key, batch, frozen = jax.random.key(0), make_batch(), ("first", "second")
    state, step = setup(model, variables, objective, frozen=frozen)
    after = step(state, batch, key)
    assert not any(differ(after.params["backbone"], variables["params"]["backbone"]))
    assert not any(differ(after.batch_stats, variables["batch_stats"]))
    assert all(differ(after.params["head"], variables["params"]["head"]))

    maps = model.apply(variables, batch["inputs"], method="feature_map")
    objective = dataclasses.replace(objective, on_features=True)
    state, step = setup(model, variables, objective, frozen=frozen)
    assert_equal(after, step(state, batch | {"inputs": maps}, key), rtol=1e-4, atol=1e-6)


def test_average_follows_its_recursion(model, variables):
    decay = 0.15
    objective = dataclasses.replace(PLAIN, ema_decay=decay, frozen_bn=False)
    state, step = setup(model, variables, objective)
    assert_equal(state.variables(), variables)
    expected = jax.tree.map(np.asarray, variables)
    for i in range(3):
        state = step(state, make_batch(seed=i), jax.random.key(0))
        kept = min(decay, (1 + i) / (10 + i))
        now = {"params": state.params, "batch_stats": state.batch_stats}
        expected = jax.tree.map(lambda a, x, k=kept: k * a + (1 - k) * np.asarray(x), expected, now)
        assert_equal(state.variables(), expected, rtol=1e-5, atol=1e-6)
    assert any(differ(state.average["params"], state.params))


@pytest.mark.slow
def test_scan_takes_the_same_steps_and_leaves_its_starting_point(model, variables):
    rates = jax.tree.map(lambda _: 1.0, variables["params"])
    tx = optim.make("sgd", lambda step: RATE, rates=rates, weight_decay=0.0, clip_norm=0.0)
    objective = dataclasses.replace(PLAIN, policy=augment.Policy(flip=True, shift=4))
    scan, key = steps.make_scan(model, tx, rates, objective), jax.random.key(3)
    whole = make_batch(10)
    indices = jnp.asarray([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]])
    batches = {name: whole[name][indices] for name in ("inputs", "labels")}
    batches["mask"] = jnp.asarray([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 0]], jnp.float32)

    together = scan(init_state(variables, tx, 0.0), batches, key)
    apart = init_state(variables, tx, 0.0)
    for i in range(3):
        apart = scan(apart, {name: array[i : i + 1] for name, array in batches.items()}, key)
    assert_equal(together, apart, rtol=2e-4, atol=1e-5)
    assert (together.step, together.sums.images) == (3, 10)
    assert together.next_epoch().sums.images == 0
    # The states given were donated, but not the variables they were made from.
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))


@pytest.mark.slow
def test_every_step_draws_anew_and_a_repeated_one_the_same(model, variables):
    """At rate zero nothing but the augmentation can change the loss."""
    policy = augment.Policy(flip=True, shift=8)
    state, step = setup(model, variables, dataclasses.replace(PLAIN, policy=policy), rate=0.0)

    def loss_at(number, key):
        begun = dataclasses.replace(state, step=jnp.int32(number))
        return float(step(begun, make_batch(), jax.random.key(key)).sums.loss)

    assert loss_at(0, 0) == loss_at(0, 0)
    losses = [loss_at(0, 0), loss_at(1, 0), loss_at(2, 0), loss_at(0, 1)]
    assert len({round(loss, 3) for loss in losses}) == 4


@pytest.mark.slow
def test_a_batch_in_parts_gives_the_same_step(model, variables):
    """With fixed batch norm: otherwise each part has statistics of its own."""
    policy = augment.Policy(flip=True, shift=4)
    after = []
    for accum_steps in (1, 3):
        objective = dataclasses.replace(
            PLAIN, policy=policy, activity_l1=0.01, label_smoothing=0.1, accum_steps=accum_steps
        )
        state, step = setup(model, variables, objective)
        after.append(step(state, make_batch(12, masked=5), jax.random.key(2)))
    assert_equal(after[0], after[1], rtol=1e-4, atol=1e-6)
    assert after[1].sums.images == 7


@pytest.mark.slow
def test_parts_hand_their_batch_statistics_on(model, variables):
    objective = dataclasses.replace(PLAIN, frozen_bn=False)
    state, step = setup(model, variables, dataclasses.replace(objective, accum_steps=2), rate=0.0)
    batch = make_batch(8, masked=0)
    together = step(state, batch, jax.random.key(0))
    one, plain = setup(model, variables, objective, rate=0.0)
    for part in (0, 1):
        one = plain(one, {name: a[part::2] for name, a in batch.items()}, jax.random.key(0))
    assert_equal(together.batch_stats, one.batch_stats, rtol=1e-5, atol=1e-6)


class Plain(nn.Module):
    """A backbone without batch norm."""

    layer_names = ("only",)

    @nn.compact
    def __call__(self, x, train=False, frozen_bn=False):
        return nn.relu(nn.Conv(4, (3, 3), (8, 8), name="only")(x))


@pytest.mark.slow
def test_backbone_without_batch_norm():
    plain = Classifier("mobilenet", Plain(), Head(CLASSES))
    variables = jax.jit(functools.partial(initial, plain, SIZE))(jax.random.key(0))
    assert variables["batch_stats"] == {"backbone": {}}
    objective = dataclasses.replace(PLAIN, frozen_bn=False, ema_decay=0.5, accum_steps=2)
    state, step = setup(plain, variables, objective)
    after = step(state, make_batch(), jax.random.key(0))
    assert all(differ(state.params, after.params))
    assert jax.tree.structure(after) == jax.tree.structure(state)
