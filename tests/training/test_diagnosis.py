"""A step that goes wrong leaves the state as it was, and the layer to blame is named."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifsel.data import augment
from cifsel.training import diagnosis, optim, steps
from cifsel.training.objective import Objective
from cifsel.training.state import init_state

CLASSES, SIZE = 5, 32
PLAIN = Objective(image_size=SIZE, resize="nearest", policy=augment.Policy())
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def parts(build_tiny, variables_of):
    """The model, its variables, and what both the step and the diagnosis need besides."""
    model = build_tiny(num_classes=CLASSES, hidden=7)
    variables = variables_of(model, SIZE)
    rates = jax.tree.map(lambda _: 1.0, variables["params"])
    return model, variables, {"model": model, "rates": rates, "objective": PLAIN}


def make_batches(count=3):
    rng = np.random.default_rng(0)
    return {
        "inputs": jnp.asarray(rng.integers(0, 256, (count, 6, 32, 32, 3)), jnp.uint8),
        "labels": jnp.asarray(rng.integers(0, CLASSES, (count, 6)), jnp.int32),
        "mask": jnp.ones((count, 6)),
    }


def batch(number=0):
    return {name: array[number] for name, array in make_batches().items()}


def optimizer(rates, rate=lambda step: 0.05):
    return optim.make("adamw", rate, rates=rates, weight_decay=0.1, clip_norm=1.0)


def with_value(variables, path, value):
    """The variables with one number changed."""
    copied = jax.tree.map(np.array, variables)
    functools.reduce(dict.__getitem__, path[:-1], copied)[path[-1]].flat[0] = value
    return jax.device_put(copied)


def failed_state(parts, variables):
    """The state after a step that is bound to fail, which is checked."""
    _, _, needed = parts
    tx = optimizer(needed["rates"])
    state = init_state(variables, tx, 0.0)
    step = jax.jit(functools.partial(steps.train_step, tx=tx, **needed))
    after = step(state, batch(), KEY)
    assert after.failed
    return state, after


def path_to_kernel(params, layer):
    """The way to some kernel of a layer."""
    flat = jax.tree_util.tree_flatten_with_path(params["backbone"][layer])[0]
    keys = next(path for path, leaf in flat if leaf.ndim == 4)
    return ("params", "backbone", layer, *(key.key for key in keys))


@pytest.mark.slow
def test_nothing_of_a_failed_step_is_kept(parts):
    _, variables, _ = parts
    state, after = failed_state(parts, with_value(variables, path(variables, "second"), 3e38))
    before = dataclasses.replace(state, failed=jnp.ones((), bool))
    jax.tree.map(np.testing.assert_array_equal, after, before)


def path(variables, layer):
    return path_to_kernel(variables["params"], layer)


@pytest.mark.slow
def test_later_steps_of_the_same_call_do_nothing(parts):
    """The rate is infinite in the second of three steps, so that the third meets what is no number.

    The second still finds a finite loss and gradient; it is the third that fails.
    """
    model, variables, needed = parts
    tx = optimizer(needed["rates"], lambda step: jnp.where(step == 1, jnp.inf, 0.01))
    scan = steps.make_scan(model, tx, needed["rates"], PLAIN)
    after = scan(init_state(variables, tx, 0.0), make_batches(5), KEY)
    assert (bool(after.failed), int(after.step), float(after.sums.steps)) == (True, 2, 2.0)
    assert np.isfinite([after.sums.loss, after.sums.grad_norm]).all()


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["first", "second"])
def test_an_output_that_overflows(parts, layer):
    _, variables, needed = parts
    state, _ = failed_state(parts, with_value(variables, path(variables, layer), 3e38))
    assert (
        diagnosis.first_not_finite(state, batch(), KEY, **needed)
        == f"the output of backbone/{layer}"
    )


@pytest.mark.slow
def test_a_weight_that_is_no_number(parts):
    _, variables, needed = parts
    broken = with_value(variables, path(variables, "second"), np.nan)
    state, _ = failed_state(parts, broken)
    assert diagnosis.first_not_finite(state, batch(), KEY, **needed) == (
        "a weight of backbone/second"
    )


@pytest.mark.slow
def test_the_head(parts):
    _, variables, needed = parts
    broken = with_value(variables, ("params", "head", "logits", "bias"), 3.4e38)
    broken = with_value(broken, ("params", "head", "logits", "kernel"), 3.4e38)
    state, _ = failed_state(parts, broken)
    assert diagnosis.first_not_finite(state, batch(), KEY, **needed).endswith("of head")


@pytest.mark.slow
def test_sound_steps_go_on(parts):
    model, variables, needed = parts
    tx = optimizer(needed["rates"])
    scan = steps.make_scan(model, tx, needed["rates"], PLAIN)
    after = scan(init_state(variables, tx, 0.0), make_batches(3), KEY)
    assert (bool(after.failed), int(after.step)) == (False, 3)
