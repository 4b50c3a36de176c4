"""What is saved comes back, and what cannot come back is one line."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from etils import epath

from cifsel import checkpoints, steps
from cifsel.checkpoints import Checkpoints
from cifsel.errors import UserError

META = {"config": {"seed": 3, "data_dir": None}, "class_names": ["a", "b"], "accuracy": 0.5}


def make_model(seed=0, width=4):
    rng = np.random.default_rng(seed)
    return {
        "params": {"backbone": {"kernel": jnp.asarray(rng.normal(size=(3, width)), jnp.float32)}},
        "batch_stats": {"backbone": {"mean": jnp.asarray(rng.normal(size=width), jnp.float32)}},
    }


def make_state(seed=0):
    return steps.init_state(make_model(seed), optax.adamw(1e-3), 0.9)


def zeros(tree):
    return jax.tree.map(jnp.zeros_like, tree)


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def test_another_process_finds_what_was_saved(tmp_path):
    folder = epath.Path(tmp_path / "made" / "here")
    with Checkpoints(folder) as saved:
        assert saved.latest is None
        saved.save(7, model=make_model(1), meta=META, training=make_state(2))
    with Checkpoints(folder) as found:
        assert found.latest == 7
        assert found.meta() == META
        assert_same(found.model(zeros(make_model())), make_model(1))
        assert_same(found.training(zeros(make_state())), make_state(2))


def test_only_the_newest_is_kept(tmp_path):
    with Checkpoints(epath.Path(tmp_path)) as saved:
        for step in (1, 5, 11):
            saved.save(step, model=make_model(step), meta={"step": step})
        assert (saved.latest, saved.meta()) == (11, {"step": 11})
    assert [path.name for path in (tmp_path / checkpoints.FOLDER).iterdir()] == ["11"]


def test_saving_a_step_again_is_allowed(tmp_path):
    """A run that was killed after its last step does it."""
    with Checkpoints(epath.Path(tmp_path)) as saved:
        saved.save(3, model=make_model(1), meta=META)
        saved.save(3, model=make_model(1), meta=META)
    with Checkpoints(epath.Path(tmp_path)) as saved:
        saved.save(3, model=make_model(1), meta=META)
        assert_same(saved.model(zeros(make_model())), make_model(1))


def test_saving_does_not_wait_for_the_caller_to_let_go(tmp_path):
    """The next step overwrites the buffers of the state that was saved."""
    advance = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    with Checkpoints(epath.Path(tmp_path)) as saved:
        state = make_state(2)
        saved.save(1, model=make_model(1), meta=META, training=state)
        advance(state)
        assert_same(saved.training(zeros(make_state())), make_state(2))


def assert_one_line(error, *words):
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_nothing_saved(tmp_path):
    with Checkpoints(epath.Path(tmp_path)) as empty:
        for read in (empty.meta, lambda: empty.model(make_model())):
            with pytest.raises(UserError) as error:
                read()
            assert_one_line(error, str(tmp_path), "no checkpoint")


@pytest.fixture
def saved(tmp_path):
    with Checkpoints(epath.Path(tmp_path)) as saved:
        saved.save(1, model=make_model(), meta=META)
    return epath.Path(tmp_path)


@pytest.mark.parametrize(
    "template",
    [make_model(width=5), {"params": make_model()["params"]}, make_model() | {"more": jnp.ones(1)}],
    ids=["shape", "less", "more"],
)
def test_another_model(saved, template):
    with Checkpoints(saved) as found, pytest.raises(UserError) as error:
        found.model(template)
    assert_one_line(error, str(saved), "of another model")


def test_part_that_was_not_saved(saved):
    with Checkpoints(saved) as found, pytest.raises(UserError) as error:
        found.training(make_state())
    assert_one_line(error, "'training'", "missing")


@pytest.mark.parametrize("part", ["model", "meta"])
@pytest.mark.parametrize("damage", ["truncated", "deleted"])
def test_damaged_files(saved, part, damage):
    for path in Path(saved, checkpoints.FOLDER, "1", part).rglob("*"):
        if path.is_file():
            if damage == "deleted":
                path.unlink()
            else:
                path.write_bytes(path.read_bytes()[:5])
    with Checkpoints(saved) as found, pytest.raises(UserError) as error:
        if part == "meta":
            found.meta()
        else:
            found.model(make_model())
    assert_one_line(error, str(saved), repr(part))
