"""The training loop: order of images, early stopping, numbers that are not finite, traces."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting_scan import CountingScan, counting_state, predict_with_accuracies
from etils import epath
from loop_runs import CLASSES, COUNT, EPOCHS, train, without_times

from cifsel.errors import UserError
from cifsel.training import loop
from cifsel.training.progress import Start
from cifsel.workdir.checkpoints import Checkpoints


def test_every_image_counts_once_an_epoch_in_an_order_of_its_own(tmp_path):
    scan = CountingScan()
    _, progress = train(tmp_path, scan, predict_with_accuracies([1] * 3), counting_state())
    epochs = np.reshape(scan.seen, (EPOCHS, COUNT)).tolist()
    assert [sorted(epoch) for epoch in epochs] == [list(range(COUNT))] * EPOCHS
    assert len({tuple(epoch) for epoch in epochs}) == EPOCHS
    assert [epoch.train_loss for epoch in progress.history] == [1.0] * EPOCHS


@pytest.mark.slow
@pytest.mark.parametrize("steps_per_call", [0, 2])
def test_steps_per_call_changes_nothing_else(tmp_path, steps_per_call):
    """Three steps an epoch do not divide into pairs."""
    scans = CountingScan(), CountingScan()
    for scan, per_call in zip(scans, (1, steps_per_call), strict=True):
        predict = predict_with_accuracies([1, 2, 3])
        _, progress = train(
            tmp_path / str(per_call), scan, predict, counting_state(), steps_per_call=per_call
        )
        assert progress.best.epoch == 3
    assert scans[0].seen == scans[1].seen


def test_early_stopping_goes_back_to_the_best(tmp_path, capsys):
    """The first of equals; patience counts epochs without a better one."""
    predict = predict_with_accuracies([1, 4, 3, 4, 2, 6, 6])
    settings = {"epochs": 7, "patience": 3}
    variables, progress = train(tmp_path, CountingScan(), predict, counting_state(), **settings)
    assert len(progress.history) == 5
    assert progress.best == progress.history[1]
    assert progress.best.val_accuracy == pytest.approx(4 / 6)
    assert variables["params"]["w"] == 2 * 3
    assert "no better validation accuracy in 3 epochs" in capsys.readouterr().out
    with Checkpoints(epath.Path(tmp_path)) as checkpoints:
        kept = checkpoints.model({"params": {"w": np.zeros(1, np.float32)}, "batch_stats": {}})
        assert kept["params"]["w"] == 2 * 3
    # The same command again: nothing is left to do.
    again, progress = train(tmp_path, CountingScan(), predict, counting_state(), **settings)
    assert (len(progress.history), again["params"]["w"]) == (5, 6)


def test_the_start_is_kept_where_no_epoch_is_better(tmp_path):
    start = {"start": Start(val_loss=0.1, val_accuracy=5 / 6)}
    predict = predict_with_accuracies([2, 4, 5])
    for _ in range(2):  # The second time, it is restored from the checkpoint.
        variables, progress = train(tmp_path, CountingScan(), predict, counting_state(), **start)
        assert (progress.best, len(progress.history)) == (None, EPOCHS)
        assert variables["params"]["w"] == 0


def test_without_patience_all_epochs_run(tmp_path):
    predict = predict_with_accuracies([6, 5, 4, 3, 2])
    variables, progress = train(tmp_path, CountingScan(), predict, counting_state(), epochs=5)
    assert len(progress.history) == 5
    assert variables["params"]["w"] == 3


@pytest.mark.parametrize("value", [np.nan, 3e38], ids=["nan", "overflow"])
def test_a_step_that_is_not_finite_ends_the_run(real, tmp_path, value):
    scan, predict, initial = real

    def poisoned(state, batches, key):
        if int(state.step) == 4:
            params = jax.tree.map(lambda x: jnp.full_like(x, value), state.params)
            state = dataclasses.replace(state, params=params)
        return scan(state, batches, key)

    with pytest.raises(UserError) as error:
        train(tmp_path, poisoned, predict, initial(), checkpoint_minutes=0.0)
    message = str(error.value)
    assert "step 5, in epoch 2, is not finite, and the output of head is the first" in message
    assert "lower config.learning_rate, which is 0.1 there" in message
    assert message.endswith("the checkpoint after step 4 stays")
    # The same run without what was wrong goes on from there.
    found = train(tmp_path, scan, predict, initial())
    assert [epoch.epoch for epoch in found[1].history] == [1, 2, 3]


def test_a_validation_loss_that_is_no_number(tmp_path):
    def predict(variables, images):
        return jnp.full((len(images), CLASSES), jnp.nan)

    with pytest.raises(UserError, match=r"validation loss is nan after step 3: lower config\.l"):
        train(tmp_path, CountingScan(), predict, counting_state())


@pytest.mark.parametrize("long", [True, False])
def test_long_run_says_so(tmp_path, capsys, monkeypatch, long):
    monkeypatch.setattr(loop, "LONG_RUN", 0.0 if long else 1e9)
    train(tmp_path, CountingScan(), predict_with_accuracies([1] * 3), counting_state())
    assert capsys.readouterr().out.count("Going on; Ctrl-C saves and stops") == long


# --- traces --------------------------------------------------------------------------------------


def traces(folder):
    return sorted(Path(folder).glob("plugins/profile/*/*.xplane.pb"))


def test_a_trace_of_some_steps(real, tmp_path, capsys):
    """After the first call, whose time is that of compiling; what is computed stays the same."""
    scan, predict, initial = real
    profiled = train(tmp_path / "a", scan, predict, initial(), profile_steps=2)
    assert "trace of steps 2 to 3 in" in capsys.readouterr().out
    (trace,) = traces(tmp_path / "a")
    # XLA's names of what ran are in it as they are.
    assert b"jit_scan" in trace.read_bytes()
    plain = train(tmp_path / "b", scan, predict, initial())
    assert not traces(tmp_path / "b")
    assert without_times(profiled[1].history) == without_times(plain[1].history)


def test_a_run_that_ends_before_its_trace(real, tmp_path, capsys):
    scan, predict, initial = real
    train(tmp_path, scan, predict, initial(), profile_steps=1000)
    assert f"trace of steps 2 to {3 * EPOCHS} in" in capsys.readouterr().out
    assert traces(tmp_path)
