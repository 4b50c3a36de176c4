"""Schedules and optimisers against their formulas written in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from cifsel.training import optim

LAYERS = ("stem", "middle", "top")


def make_params(seed=0):
    rng = np.random.default_rng(seed)

    def layer():
        return {
            "conv": {"kernel": rng.normal(size=(3, 4))},
            "bn": {"scale": rng.normal(size=4), "bias": rng.normal(size=4)},
        }

    head = {"logits": {"kernel": rng.normal(size=(4, 2)), "bias": rng.normal(size=2)}}
    params = {"backbone": {name: layer() for name in LAYERS}, "head": head}
    return jax.device_put(jax.tree.map(np.float32, params))


def flat(tree):
    return {path: np.asarray(x) for path, x in traverse_util.flatten_dict(tree).items()}


def all_rates(params, value=1.0):
    return jax.tree.map(lambda _: value, params)


def run(name, rates, *, steps=3, weight_decay=0.0, clip_norm=0.0, rate=lambda step: 0.1):
    """Parameters after some steps with gradients of their own, and the last optimiser state."""
    params = make_params()
    tx = optim.make(name, rate, rates=rates, weight_decay=weight_decay, clip_norm=clip_norm)
    state = tx.init(params)
    for step in range(steps):
        updates, state = tx.update(make_params(100 + step), state, params)
        params = jax.tree.map(jnp.add, params, updates)
    return params, state


# --- the schedule --------------------------------------------------------------------------------


def values(kind, *, warmup, total, peak=0.5):
    schedule = optim.schedule(kind, peak, warmup_steps=warmup, total_steps=total)
    return np.array([float(schedule(step)) for step in range(total + 1)])


def test_warm_up_rises_from_a_first_step_that_moves_to_the_peak():
    rates = values("cosine", warmup=4, total=20)
    np.testing.assert_allclose(np.diff(rates[:5]), (0.5 - 0.125) / 4, rtol=1e-5)
    assert rates[0] == pytest.approx(0.125)
    assert rates.argmax() == 4
    assert rates[4] == pytest.approx(0.5)


@pytest.mark.parametrize("warmup", [0, 4])
def test_cosine_falls_to_zero(warmup):
    rates = values("cosine", warmup=warmup, total=20)[warmup:]
    expected = 0.25 * (1 + np.cos(np.pi * np.arange(len(rates)) / (len(rates) - 1)))
    np.testing.assert_allclose(rates, expected, atol=1e-7)


def test_constant_stays():
    assert set(values("constant", warmup=0, total=9)) == {0.5}
    assert set(values("constant", warmup=3, total=9)[3:]) == {0.5}


@pytest.mark.parametrize(("warmup", "total"), [(0, 1), (5, 1), (5, 5), (9, 5)])
def test_every_step_of_a_short_run_has_a_rate(warmup, total):
    rates = values("cosine", warmup=warmup, total=total)[:total]
    assert (rates > 0).all()
    assert (rates <= 0.5).all()


# --- groups --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trainable", "expected"),
    [(0, [0, 0, 0]), (1, [0, 0, 2]), (2, [0, 1, 2]), (-1, [0.5, 1, 2]), (99, [0.5, 1, 2])],
)
def test_layer_rates(trainable, expected):
    rates = optim.layer_rates(LAYERS, backbone_rate=2, layer_decay=0.5, trainable_layers=trainable)
    assert rates == dict(zip(LAYERS, expected, strict=True))


def test_every_parameter_has_the_rate_of_its_layer_and_the_head_one():
    params = make_params()
    rates = optim.rates_by_parameter(params, {"stem": 0.0, "middle": 0.25, "top": 3.0})
    assert jax.tree.structure(rates) == jax.tree.structure(params)
    expected = {"stem": 0.0, "middle": 0.25, "top": 3.0}
    for path, rate in traverse_util.flatten_dict(rates).items():
        assert rate == (1.0 if path[0] == "head" else expected[path[1]])


def test_freeze_stops_gradients_of_rate_zero_only():
    params = make_params()
    rates = optim.rates_by_parameter(params, {"stem": 0.0, "middle": 1.0, "top": 0.0})

    def loss(params):
        return sum(jnp.sum(x**2) for x in jax.tree.leaves(optim.freeze(params, rates)))

    grads, rates = flat(jax.grad(loss)(params)), traverse_util.flatten_dict(rates)
    for path, value in flat(params).items():
        np.testing.assert_allclose(grads[path], 2 * value if rates[path] else 0 * value)


# --- the optimiser -------------------------------------------------------------------------------


def reference(name, *, weight_decay, clip_norm, steps=3, rate=lambda step: 0.1):
    """Kingma & Ba 2015 with decoupled decay, and Nesterov's momentum, in float64."""
    params = {path: x.astype(np.float64) for path, x in flat(make_params()).items()}
    first = {path: np.zeros_like(x) for path, x in params.items()}
    second = {path: np.zeros_like(x) for path, x in params.items()}
    for step in range(steps):
        grads = flat(make_params(100 + step))
        norm = np.sqrt(sum(np.sum(g.astype(np.float64) ** 2) for g in grads.values()))
        scale = min(1.0, clip_norm / norm) if clip_norm else 1.0
        for path, x in params.items():
            g = grads[path] * scale
            if name == "adamw":
                first[path] = 0.9 * first[path] + 0.1 * g
                second[path] = 0.999 * second[path] + 0.001 * g**2
                mean = first[path] / (1 - 0.9 ** (step + 1))
                change = mean / (np.sqrt(second[path] / (1 - 0.999 ** (step + 1))) + 1e-8)
            else:
                first[path] = 0.9 * first[path] + g
                change = g + 0.9 * first[path]
            decay = weight_decay * x if path[-1] == "kernel" else 0.0
            params[path] = x - rate(step) * (change + decay)
    return params


@pytest.mark.parametrize("name", ["adamw", "sgd"])
@pytest.mark.parametrize(("weight_decay", "clip_norm"), [(0.0, 0.0), (0.3, 0.0), (0.3, 0.5)])
def test_steps_follow_the_formulas(name, weight_decay, clip_norm):
    settings = {"weight_decay": weight_decay, "clip_norm": clip_norm}

    def rate(step):
        return 0.1 / (1 + step)

    found, _ = run(name, all_rates(make_params()), rate=rate, **settings)
    expected = reference(name, rate=rate, **settings)
    for path, value in flat(found).items():
        np.testing.assert_allclose(value, expected[path], rtol=2e-4, atol=2e-5, err_msg=str(path))


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_rate_multiplies_the_update(name):
    start, one = flat(make_params()), all_rates(make_params())
    rates = optim.rates_by_parameter(one, {"stem": 0.25, "middle": 3.0, "top": 1.0})
    settings = {"steps": 1, "weight_decay": 0.3, "clip_norm": 0.5}
    plain, scaled = (flat(run(name, tree, **settings)[0]) for tree in (one, rates))
    for path, rate in traverse_util.flatten_dict(rates).items():
        expected = rate * (plain[path] - start[path])
        np.testing.assert_allclose(scaled[path] - start[path], expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_frozen_parameters_do_not_move_and_have_no_state(name):
    params = make_params()
    rates = optim.rates_by_parameter(params, {"stem": 0.0, "middle": 0.0, "top": 1.0})
    after, state = run(name, rates, weight_decay=0.5)
    start, after = flat(params), flat(after)
    trained = 0
    for path, rate in traverse_util.flatten_dict(rates).items():
        assert np.array_equal(start[path], after[path]) == (rate == 0), path
        trained += start[path].size * (rate > 0)
    moments = sum(x.size for x in jax.tree.leaves(state) if jnp.ndim(x))
    assert moments == trained * (2 if name == "adamw" else 1)


def test_clipping_looks_at_trained_gradients_only():
    """Large gradients of frozen parameters may not shrink the steps of the others."""
    params = make_params()
    rates = optim.rates_by_parameter(params, {"stem": 0.0, "middle": 0.0, "top": 1.0})
    tx = optim.make("sgd", lambda step: 1.0, rates=rates, weight_decay=0.0, clip_norm=2.0)
    grads = jax.tree.map(lambda p, r: p if r else 1e6 * p, make_params(1), rates)
    updates, _ = tx.update(grads, tx.init(params), params)
    norm = np.sqrt(sum(np.sum(u**2) for u in flat(updates).values()))
    assert norm == pytest.approx(1.9 * 2.0, rel=1e-4)  # Nesterov's first step is 1.9 gradients.
