"""Programs that are kept: a second process neither traces nor compiles, and gets the same."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import serialize_executable

from cifsel import build, get_config
from cifsel.models import classifier
from cifsel.runtime import executables


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of its own. By the settings of all tests, every program is worth its place."""
    monkeypatch.setattr(executables, "_folder", lambda: tmp_path / "executables")
    return tmp_path / "executables"


def made(about="sum of squares"):
    """The function, as a new process makes it, and how often it was traced."""
    traced = []

    def squares(tree, x):
        traced.append(1)
        return (tree["a"] * x).sum() + tree["b"]

    return executables.Kept(jax.jit(squares), about), traced


TREE = {"a": jnp.arange(4.0), "b": jnp.float32(3.0)}


def test_the_second_process_does_not_trace(folder):
    first, traced = made()
    expected = first(TREE, jnp.ones(4))
    assert (expected, len(traced)) == (9.0, 1)
    (file,) = folder.iterdir()
    again, traced_again = made()
    assert again(TREE, jnp.ones(4)) == expected
    assert again(TREE, jnp.full(4, 2.0)) == 15.0
    assert not traced_again
    assert file.stat().st_size > 100


def test_other_shapes_and_other_functions_have_their_own(folder):
    first, traced = made()
    assert first(TREE, jnp.ones(4)) == 9.0
    assert first(TREE, jnp.ones((2, 4))) == 15.0
    assert len(traced) == 2
    other, traced = made("another")
    other(TREE, jnp.ones(4))
    assert len(traced) == 1
    assert len(list(folder.iterdir())) == 3


def test_shapes_and_programs_around_it_are_those_of_the_function(folder):
    """The options of the compiler are for the program alone, JAX takes none of an inner one."""
    options = {"xla_backend_optimization_level": 0}
    kept = executables.Kept(jax.jit(lambda x: 2 * x, compiler_options=options), "twice")
    assert jax.eval_shape(kept, jnp.ones(3)).shape == (3,)
    np.testing.assert_array_equal(jax.jit(kept)(jnp.ones(3)), 2 * np.ones(3))
    np.testing.assert_array_equal(kept(jnp.ones(3)), 2 * np.ones(3))


@pytest.mark.parametrize("damage", [b"", b"no program"])
def test_a_damaged_file_is_made_anew(folder, damage):
    made()[0](TREE, jnp.ones(4))
    (file,) = folder.iterdir()
    whole = file.stat().st_size
    file.write_bytes(damage)
    again, traced = made()
    assert again(TREE, jnp.ones(4)) == 9.0
    assert len(traced) == 1
    assert file.stat().st_size >= whole - 100


def test_the_key_has_the_code_the_settings_and_the_machine(folder, monkeypatch):
    before = executables._surroundings.__wrapped__()
    assert executables._surroundings.__wrapped__() == before
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
    assert executables._surroundings.__wrapped__() != before
    monkeypatch.undo()
    monkeypatch.setattr(executables, "_code", lambda: "other code")
    assert executables._surroundings.__wrapped__() != before


def test_within_another_program_it_is_traced(folder):
    kept, traced = made()
    assert jax.jit(lambda x: 2 * kept(TREE, x))(jnp.ones(4)) == 18.0
    assert jax.eval_shape(kept, TREE, jnp.ones(4)).shape == ()
    assert len(traced) == 2
    assert not folder.exists()


def test_a_donated_state_is_still_donated(folder):
    def process():
        step = jax.jit(lambda state, x: {"n": state["n"] + x}, donate_argnums=0)
        return executables.Kept(step, "step", like=lambda state, _: state)

    for _ in range(2):
        state = {"n": jnp.zeros(1000)}
        after = process()(state, jnp.ones(()))
        np.testing.assert_array_equal(after["n"], 1.0)
        assert state["n"].is_deleted()
    assert len(list(folder.iterdir())) == 1


def test_code_of_jax_s_own_cache_is_not_written(folder, tmp_path, monkeypatch):
    """XLA would write it without a word, and fail when it runs."""
    before = jax.config.jax_enable_compilation_cache
    seen = []
    monkeypatch.setattr(
        serialize_executable,
        "serialize",
        lambda program: seen.append(jax.config.jax_enable_compilation_cache) or (b"", 0, 0),
    )
    monkeypatch.setattr(
        executables.compilation_cache,
        "reset_cache",
        lambda: seen.append(jax.config.jax_enable_compilation_cache),
    )
    made()[0](TREE, jnp.ones(4))
    assert seen == [False, True, True]
    assert jax.config.jax_enable_compilation_cache == before


def test_shapes_are_kept(folder):
    calls = []

    def initial(name, key):
        calls.append(key)
        return {"params": {"kernel": jnp.zeros((2, 3)), "bias": jnp.zeros(3, jnp.bfloat16)}}

    first = executables.kept_shapes(functools.partial(initial, "net"))
    again = executables.kept_shapes(functools.partial(initial, "net"))
    assert len(calls) == 1
    assert first == again
    assert again["params"]["bias"] == jax.ShapeDtypeStruct((3,), jnp.bfloat16)


def test_what_an_address_says_is_not_kept(folder):
    kept, _ = made(about=repr(made))
    assert kept(TREE, jnp.ones(4)) == 9.0
    assert not folder.exists()


def test_only_the_newest_are_kept(folder, monkeypatch):
    monkeypatch.setattr(executables, "_MOST_FILES", 2)
    for number in range(4):
        made(f"program {number}")[0](TREE, jnp.ones(4))
    assert len(list(folder.iterdir())) == 2


OF_OPTIMIZER = {
    "schedule": "constant",
    "learning_rate": 0.5,
    "warmup_epochs": 0.25,
    "epochs": 9,
    "backbone_rate": 0.7,
    "layer_decay": 0.6,
    "trainable_layers": 1,
    "optimizer": "sgd",
    "weight_decay": 0.3,
    "clip_norm": 9.0,
}


def test_the_optimizer_says_all_that_it_is_made_from():
    """Else a training step would be taken for another one."""
    config, read = get_config("effnet"), set()

    class Recording:
        def __getattr__(self, name):
            read.add(name)
            return getattr(config, name)

        def __getitem__(self, name):
            read.add(name)
            return config[name]

    model = classifier.build("efficientnetv2-mini", num_classes=2)
    shapes = jax.eval_shape(lambda key: classifier.initial(model, 32, key), jax.random.key(0))
    params = shapes["params"]
    before = build._optimizer(Recording(), model, params, 8).about
    assert read == set(OF_OPTIMIZER)
    assert build._optimizer(config, model, params, 9).about != before
    for name, value in OF_OPTIMIZER.items():
        changed = get_config("effnet", **{name: value})
        assert build._optimizer(changed, model, params, 8).about != before, name
