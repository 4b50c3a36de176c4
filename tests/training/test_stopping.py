"""A training loop that is stopped or crashes goes on as if nothing had been."""

import signal

import pytest
from counting_scan import CountingScan, counting_state, predict_with_accuracies
from etils import epath
from loop_runs import EPOCHS, META, assert_same_run, disturbed, train

from cifsel.runtime.signals import Interrupted
from cifsel.runtime.terminal import count
from cifsel.workdir.checkpoints import Checkpoints


@pytest.fixture(scope="module")
def undisturbed(real, tmp_path_factory):
    scan, predict, initial = real
    return train(tmp_path_factory.mktemp("undisturbed"), scan, predict, initial())


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


def test_second_ctrl_c_stops_at_once(tmp_path):
    def twice():
        press_ctrl_c()
        press_ctrl_c()

    scan = disturbed(CountingScan(), 2, twice)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, scan, predict_with_accuracies([1] * 3), counting_state())
    with Checkpoints(epath.Path(tmp_path)) as checkpoints:
        assert checkpoints.latest is None


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
