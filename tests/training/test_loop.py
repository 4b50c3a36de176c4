"""The training loop: resuming, stopping, and what it keeps."""

import dataclasses
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from etils import epath

from cifsel.errors import UserError
from cifsel.runtime.signals import Interrupted
from cifsel.runtime.terminal import count
from cifsel.training import loop, profiling
from cifsel.training.progress import Start
from cifsel.training.state import init_state
from cifsel.workdir.checkpoints import Checkpoints
from cifsel.workdir.summaries import Summaries

COUNT, BATCH, CLASSES, EPOCHS = 10, 4, 5, 3  # 3 steps an epoch, the last one with 2 images
PLAN = loop.Plan(
    epochs=EPOCHS,
    batch_size=BATCH,
    eval_batch_size=4,
    patience=0,
    steps_per_call=1,
    checkpoint_minutes=60.0,
    profile_steps=0,
    seed=7,
)
META = {"class_names": ["a", "b"]}


def make_split(count, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return images, rng.integers(0, CLASSES, count).astype(np.int32)


def train(folder, scan, predict, state, *, profile_steps=0, start=None, **plan):
    """Runs the loop in a folder, in which it may have run before."""
    with Checkpoints(epath.Path(folder)) as checkpoints:
        trainer = loop.Trainer(
            loop.Functions(scan, predict, lambda step: 0.1, lambda *_: "the output of head"),
            loop.Examples(*make_split(COUNT, 1)),
            loop.Examples(*make_split(6, 2)),
            dataclasses.replace(PLAN, **plan),
            loop.Output(
                checkpoints, META, Summaries(), profiling.Trace(epath.Path(folder), profile_steps)
            ),
        )
        return trainer.run(state, start)


# --- with a real model ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(real, tmp_path_factory):
    scan, predict, initial = real
    return train(tmp_path_factory.mktemp("undisturbed"), scan, predict, initial())


def without_times(history):
    return [dataclasses.replace(epoch, images_per_second=0.0, waiting=0.0) for epoch in history]


def assert_same_run(found, expected):
    for a, b in zip(*map(jax.tree.leaves, (found[0], expected[0])), strict=True):
        np.testing.assert_array_equal(a, b)
    assert without_times(found[1].history) == without_times(expected[1].history)
    assert without_times([found[1].best]) == without_times([expected[1].best])


def disturbed(scan, at, what):
    """`scan` that does `what` in its call number `at`, beginning with 1."""
    calls = 0

    def call(*args):
        nonlocal calls
        calls += 1
        if calls == at:
            what()
        return scan(*args)

    return call


@pytest.fixture(autouse=True)
def in_the_foreground():
    """Tests that run in the background of a shell inherit that Ctrl-C is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_ctrl_c():
    # To this thread: one sent to the process may reach another thread, some time later.
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("at", [2, 3, 4], ids=["amid-epoch", "end-of-epoch", "begin-of-epoch"])
@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_run_goes_on(real, undisturbed, tmp_path, at, capsys):
    scan, predict, initial = real
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted):
        train(tmp_path, disturbed(scan, at, press_ctrl_c), predict, initial())
    assert signal.getsignal(signal.SIGINT) is before
    with Checkpoints(epath.Path(tmp_path)) as checkpoints:
        assert checkpoints.latest == at
        assert checkpoints.meta()["class_names"] == META["class_names"]
    capsys.readouterr()
    assert_same_run(train(tmp_path, scan, predict, initial()), undisturbed)
    assert (
        f"resuming after {count(at // 3, 'epoch')} and {count(at % 3, 'step')}"
        in capsys.readouterr().out
    )


@pytest.mark.slow
def test_crash_costs_no_more_than_the_time_between_checkpoints(real, undisturbed, tmp_path):
    scan, predict, initial = real

    def crash():
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train(tmp_path, disturbed(scan, 6, crash), predict, initial(), checkpoint_minutes=0.0)
    with Checkpoints(epath.Path(tmp_path)) as checkpoints:
        assert checkpoints.latest == 5
    found = train(tmp_path, scan, predict, initial(), checkpoint_minutes=0.0)
    assert_same_run(found, undisturbed)

    def never(*_):
        raise AssertionError("there is nothing left to train")

    assert_same_run(train(tmp_path, never, predict, initial()), undisturbed)


# --- with a model that is a number ---------------------------------------------------------------


def counting_state():
    """A state whose only parameter counts the steps."""
    return init_state({"params": {"w": jnp.zeros(1)}, "batch_stats": {}}, optax.sgd(0.1), 0.0)


class CountingScan:
    """Does nothing but count, and remembers which images it was given."""

    def __init__(self, loss=1.0):
        self.seen, self.loss = [], loss

    def __call__(self, state, batches, key):
        mask = np.asarray(batches["mask"])
        all_images, all_labels = make_split(COUNT, 1)
        position = {image.tobytes(): i for i, image in enumerate(all_images)}
        given = [position[image.tobytes()] for image in np.asarray(batches["inputs"])[mask == 1]]
        np.testing.assert_array_equal(np.asarray(batches["labels"])[mask == 1], all_labels[given])
        self.seen += given
        images = jnp.sum(mask)
        sums = dataclasses.replace(
            state.sums,
            loss=state.sums.loss + self.loss * images,
            images=state.sums.images + images,
            steps=state.sums.steps + len(mask),
        )
        params = {"w": state.params["w"] + len(mask)}
        return dataclasses.replace(state, step=state.step + len(mask), params=params, sums=sums)


def predict_with_accuracies(accuracies):
    """Logits that are right for so many of the six validation images after each epoch."""
    labels = make_split(6, 2)[1]

    def predict(variables, images):
        epoch = round(float(variables["params"]["w"][0]) / 3)
        right = {image.tobytes(): i for i, image in enumerate(make_split(6, 2)[0])}
        rows = [right[np.asarray(image).tobytes()] for image in images]
        correct = np.array([row < accuracies[epoch - 1] for row in rows])
        answer = np.where(correct, labels[rows], (labels[rows] + 1) % CLASSES)
        return jnp.eye(CLASSES)[answer]

    return predict


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


def test_second_ctrl_c_stops_at_once(tmp_path):
    def twice():
        press_ctrl_c()
        press_ctrl_c()

    scan = disturbed(CountingScan(), 2, twice)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, scan, predict_with_accuracies([1] * 3), counting_state())
    with Checkpoints(epath.Path(tmp_path)) as checkpoints:
        assert checkpoints.latest is None


@pytest.mark.parametrize("long", [True, False])
def test_long_run_says_so(tmp_path, capsys, monkeypatch, long):
    monkeypatch.setattr(loop, "LONG_RUN", 0.0 if long else 1e9)
    train(tmp_path, CountingScan(), predict_with_accuracies([1] * 3), counting_state())
    assert capsys.readouterr().out.count("Going on; Ctrl-C saves and stops") == long


def test_sigterm_saves_as_well(real, undisturbed, tmp_path):
    scan, predict, initial = real
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as stopped:
        train(
            tmp_path,
            disturbed(scan, 2, lambda: signal.raise_signal(signal.SIGTERM)),
            predict,
            initial(),
        )
    assert stopped.value.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    assert_same_run(train(tmp_path, scan, predict, initial()), undisturbed)


def test_ctrl_c_means_nothing_in_the_background(tmp_path):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    scan = disturbed(CountingScan(), 2, press_ctrl_c)
    _, progress = train(tmp_path, scan, predict_with_accuracies([1] * 3), counting_state())
    assert len(progress.history) == EPOCHS


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
