import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifsel.data import batches

SIZES = [(10, 3), (12, 4), (3, 8), (1, 1), (1, 5), (7, 7)]


@pytest.mark.parametrize(("n", "batch_size"), SIZES)
def test_epoch_counts_every_image_once(n, batch_size):
    positions, mask = batches.epoch_batches(jax.random.key(0), n, batch_size)
    assert positions.shape == mask.shape == (-(-n // batch_size), batch_size)
    assert positions.dtype == "int32"
    assert mask.dtype == "float32"
    positions, mask = np.asarray(positions), np.asarray(mask)
    assert sorted(positions[mask == 1]) == list(range(n))
    assert set(mask.ravel()) <= {0.0, 1.0}
    assert ((positions >= 0) & (positions < n)).all()


def test_padding_holds_as_many_different_images_as_there_are():
    positions, mask = batches.epoch_batches(jax.random.key(0), 10, 8)
    assert mask[1].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    assert len(set(positions[1].tolist())) == 8


def test_epochs_differ_by_key_only():
    first, again, other = (
        np.asarray(batches.epoch_batches(jax.random.key(seed), 100, 10)[0]) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first.ravel() != np.arange(100)).any()


def test_epoch_batches_under_jit():
    jitted = jax.jit(batches.epoch_batches, static_argnums=(1, 2))
    for got, expected in zip(
        jitted(jax.random.key(3), 10, 4),
        batches.epoch_batches(jax.random.key(3), 10, 4),
        strict=True,
    ):
        np.testing.assert_array_equal(got, expected)


@given(st.integers(1, 200), st.integers(1, 60))
@settings(deadline=None)
def test_eval_batches_are_in_order(n, batch_size):
    positions, mask = batches.eval_batches(n, batch_size)
    assert positions.dtype == np.int32
    assert mask.dtype == np.float32
    assert positions.shape == (-(-n // batch_size), batch_size)
    assert positions[mask == 1].tolist() == list(range(n))
    assert positions.max() < n


@pytest.mark.parametrize(("n", "batch_size"), [(0, 3), (3, 0)])
def test_nothing_to_batch(n, batch_size):
    with pytest.raises(ValueError, match="1 or more"):
        batches.eval_batches(n, batch_size)
