"""A saved checkpoint comes back, and one that cannot come back is one line."""

import contextlib
import gc
import resource
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from etils import epath

from cifsel.errors import UserError
from cifsel.runtime import sharding
from cifsel.training.state import init_state
from cifsel.workdir import checkpoints
from cifsel.workdir.checkpoints import Checkpoints

META = {"config": {"seed": 3, "data_dir": None}, "class_names": ["a", "b"], "accuracy": 0.5}


def make_model(seed=0, width=4):
    rng = np.random.default_rng(seed)
    return {
        "params": {"backbone": {"kernel": jnp.asarray(rng.normal(size=(3, width)), jnp.float32)}},
        "batch_stats": {"backbone": {"mean": jnp.asarray(rng.normal(size=width), jnp.float32)}},
    }


def make_state(seed=0):
    return init_state(make_model(seed), optax.adamw(1e-3), 0.9)


def zeros(tree):
    return jax.tree.map(jnp.zeros_like, tree)


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


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
    with Checkpoints(folder) as reopened:
        assert reopened.latest == 7
        assert reopened.meta() == META
        assert_same(reopened.model(zeros(make_model())), make_model(1))
        assert_same(reopened.training(zeros(make_state())), make_state(2))


def test_a_template_without_places_is_restored_to_one_device(tmp_path):
    """Whatever devices the run had that saved it."""
    model = sharding.everywhere(make_model(1))
    with Checkpoints(epath.Path(tmp_path)) as saved:
        saved.save(7, model=model, meta=META)
    template = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), model)
    with Checkpoints(epath.Path(tmp_path), read_only=True) as reopened:
        restored = reopened.model(template)
    assert_same(restored, make_model(1))
    for leaf in jax.tree.leaves(restored):
        assert isinstance(leaf.sharding, jax.sharding.SingleDeviceSharding)


def test_backbone_without_batch_norm(tmp_path):
    """Its statistics are an empty dict."""
    model = make_model() | {"batch_stats": {"backbone": {}}}
    state = init_state(model, optax.adamw(1e-3), 0.9)
    with Checkpoints(epath.Path(tmp_path)) as saved:
        saved.save(1, model=model, meta=META, training=state)
    with Checkpoints(epath.Path(tmp_path)) as reopened:
        assert_same(reopened.model(zeros(model)), model)
        assert_same(reopened.training(zeros(state)), state)


def test_the_newest_two_are_kept(tmp_path):
    with Checkpoints(epath.Path(tmp_path)) as saved:
        for step in (1, 5, 11):
            saved.save(step, model=make_model(step), meta={"step": step})
        assert (saved.latest, saved.meta()) == (11, {"step": 11})
        assert names(tmp_path / checkpoints.FOLDER) == ["11", "5"]
        saved.save(12, model=make_model(12), meta=META)
        saved.only_newest()
        assert_same(saved.model(zeros(make_model())), make_model(12))
    assert names(tmp_path / checkpoints.FOLDER) == ["12"]


def test_saving_a_step_again_is_allowed(tmp_path):
    """A run that was killed after its last step does it."""
    with Checkpoints(epath.Path(tmp_path)) as saved:
        saved.save(3, model=make_model(1), meta=META)
        saved.save(3, model=make_model(1), meta=META)
    with Checkpoints(epath.Path(tmp_path)) as saved:
        saved.save(3, model=make_model(1), meta=META)
        assert_same(saved.model(zeros(make_model())), make_model(1))


def test_steps_go_on_while_a_checkpoint_is_written_and_do_not_change_it(tmp_path):
    """Each step overwrites the buffers of the state that is being saved."""
    advance = jax.jit(lambda tree: jax.tree.map(lambda x: x * 3 + 1, tree), donate_argnums=0)
    rng = np.random.default_rng(0)
    large = {f"{i}": rng.normal(size=500_000).astype(np.float32) for i in range(8)}
    small = {f"small {i}": np.float32(i) for i in range(50)}
    expected, unfinished = large | small, 0
    with Checkpoints(epath.Path(tmp_path)) as saved:
        for step in range(1, 5):
            state = jax.tree.map(jnp.array, expected)
            meta = {"history": [step]}
            saved.save(step, model=make_model(step), meta=meta, training=state)
            meta["history"].append(0)
            for _ in range(5):
                state = advance(state)
            jax.block_until_ready(state)
            unfinished += str(step) not in names(tmp_path / checkpoints.FOLDER)
            assert_same(saved.training(zeros(state)), jax.tree.map(jnp.array, expected))
            assert saved.meta() == {"history": [step]}
            expected = {name: array + 1 for name, array in expected.items()}
    assert unfinished  # Else this proves nothing.


def test_what_was_being_written_is_there_when_the_block_is_left(tmp_path):
    with pytest.raises(KeyError), Checkpoints(epath.Path(tmp_path)) as saved:
        saved.save(1, model=make_model(1), meta=META)
        raise KeyError
    with Checkpoints(epath.Path(tmp_path)) as reopened:
        assert reopened.latest == 1


@contextlib.contextmanager
def full_disk():
    """No file can become larger than this."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def _begin():
    pass


def never_awaited():
    _begin()
    gc.collect()


def test_coroutine_that_is_never_awaited_is_said_by_default():
    with pytest.warns(RuntimeWarning, match="never awaited"):
        never_awaited()


LARGE = {"params": {"w": np.random.default_rng(0).normal(size=100_000).astype(np.float32)}}


@pytest.mark.parametrize("then", ["save", "leave", "fail"])
def test_error_of_the_background_is_told_once_at_the_next_occasion(tmp_path, then):
    folder = epath.Path(tmp_path)
    with Checkpoints(folder) as saved:
        saved.save(1, model=make_model(1), meta=META)

    def write():
        with full_disk(), Checkpoints(folder) as saved:
            saved.save(2, model=jax.tree.map(jnp.array, LARGE), meta=META)
            if then == "save":
                saved.save(3, model=make_model(3), meta=META)
            if then == "fail":
                raise KeyError("something else")

    with pytest.raises(UserError if then != "fail" else KeyError) as error:
        write()
    never_awaited()  # As orbax leaves some, of which nothing is to be said.
    if then != "fail":
        assert_one_line(error, f"{tmp_path}/checkpoints/2", "File too large", "same command again")
    with Checkpoints(folder) as reopened:
        assert reopened.latest == 1
        assert_same(reopened.model(zeros(make_model())), make_model(1))
        reopened.save(2, model=make_model(2), meta=META)
    assert names(tmp_path / checkpoints.FOLDER) == ["1", "2"]  # Nothing half-written is left.


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
    with Checkpoints(saved) as reopened, pytest.raises(UserError) as error:
        reopened.model(template)
    assert_one_line(error, str(saved), "of another model")


def test_part_that_was_not_saved(saved):
    with Checkpoints(saved) as reopened, pytest.raises(UserError) as error:
        reopened.training(make_state())
    assert_one_line(error, "'training'", "missing")
