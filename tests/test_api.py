"""cifsel from Python: three lines train, compare and predict, and what is wrong is a UserError."""

import errno
import importlib
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import tiny_run
from paths import REPO

import cifsel
from cifsel import api, task1
from cifsel.prediction import predictor as predictors
from cifsel.runtime.signals import Interrupted
from cifsel.selfie import run as selfie_run
from cifsel.workdir import summaries

# --- what there is -------------------------------------------------------------------------------

# Each name as a user's first, in a process of its own; then all that this imported of JAX.
FIRST = """
import sys, cifsel
assert "jax" not in sys.modules and "ml_collections" not in sys.modules
print(type(cifsel.{name}).__name__, cifsel.{name}.__module__, "jax" in sys.modules)
"""


@pytest.mark.process
def test_import_is_quick_and_get_config_needs_no_jax():
    done = subprocess.run(
        [sys.executable, "-c", FIRST.format(name="get_config")],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "function cifsel.config.files False\n"


@pytest.mark.process
@pytest.mark.slow
def test_compare_is_the_function_after_all_was_imported():
    """Nothing imports the command of this name, which would take the name for itself."""
    code = (
        "import cifsel, cifsel.sweep, cifsel.main, cifsel.task1, cifsel.predict, cifsel.__main__\n"
    )
    code += "import sys; from cifsel import prediction, comparison, selfie, reports, training\n"
    code += (
        "print(cifsel.compare.__module__, cifsel.train.__module__, 'cifsel.compare' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True
    )
    assert done.stdout == "cifsel.api cifsel.api False\n"


def test_compare_stays_callable_where_its_command_was_imported(monkeypatch):
    monkeypatch.setattr(api, "compare", lambda runs, output: (runs, output))
    command = importlib.import_module("cifsel.compare")
    assert command(["a", "b"], "c") == (["a", "b"], "c")
    assert callable(cifsel.compare)


def test_what_is_offered_is_there_and_described():
    assert set(cifsel.__all__) >= {"load", "train", "compare", "get_config", "UserError"}
    for name in cifsel.__all__:
        assert getattr(cifsel, name).__doc__


# --- a run, a comparison, answers ----------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of tiny models. Their figures are not drawn, which takes seconds."""
    root = tmp_path_factory.mktemp("api")
    before = signal.getsignal(signal.SIGINT), sys.stdout, sys.excepthook
    with pytest.MonkeyPatch.context() as patch:
        tiny_run.make_small(patch)
        tiny_run.leave_out_drawing(patch)
        patch.setattr(summaries, "open_writer", lambda _: summaries.Summaries())
        made = [cifsel.train(config_of(name), root / name) for name in ("effnet", "mobilenet")]
        assert before == (signal.getsignal(signal.SIGINT), sys.stdout, sys.excepthook)
        yield made


def config_of(name):
    return cifsel.get_config(name, "probe", **tiny_run.SMALL, mirror=False)


@pytest.mark.slow
def test_a_run_has_its_metrics_figures_report_and_model(runs):
    run = runs[0]
    assert run.metrics == json.loads((run.workdir / "metrics.json").read_text())
    assert run.metrics["command"] == f"cifsel.train(config, workdir='{run.workdir}')"
    assert {"confusion_matrix", "training_samples", "worst_classes"} <= run.figures.keys()
    assert all(path.is_file() for path in run.figures.values())
    assert "<html" in run.report.read_text()
    accuracy = f"test accuracy {run.metrics['test']['accuracy']:.1%} (95 % interval "
    assert accuracy in repr(run)
    assert accuracy in run._repr_html_()
    images = tiny_run.few_images().test.images
    answers = run.predictor().predict(images)
    with np.load(run.workdir / "predictions.npz") as arrays:
        expected = arrays["class_names"][arrays["test_logits"].argmax(1)]
    assert [answer.label for answer in answers] == expected.tolist()


@pytest.mark.slow
def test_a_finished_run_is_opened_by_the_same_call(runs, monkeypatch):
    monkeypatch.setattr(task1, "Run", None)
    config = config_of("effnet")
    assert cifsel.train(config, runs[0].workdir) == cifsel.open_run(str(runs[0].workdir)) == runs[0]
    config.seed = 7
    with pytest.raises(cifsel.UserError, match="holds a run with another config"):
        cifsel.train(config, runs[0].workdir)


@pytest.mark.slow
def test_runs_are_compared(runs, tmp_path):
    compared = cifsel.compare([runs[0], str(runs[1].workdir)], tmp_path / "comparison")
    content = json.loads((tmp_path / "comparison" / "comparison.json").read_text())
    assert json.loads(json.dumps(compared.metrics)) == content
    assert compared.verdict == content["verdict"]
    assert compared.verdict in repr(compared)
    assert "accuracy_by_seed" in compared.figures
    assert len(compared.predictor().class_names) == 50
    assert repr(cifsel.load(compared)) == repr(compared.predictor())
    with pytest.raises(cifsel.UserError, match="is the workdir of a run"):
        cifsel.compare(runs, runs[0].workdir)


def test_task_2_is_a_run_as_well(monkeypatch, tmp_path):
    def evaluate_and_train(config, folder, writer):
        assert isinstance(writer, summaries.Summaries)
        content = {"task": config.task, "sentence": "19 of 24 <right>."}
        (tmp_path / "selfie").mkdir()
        (tmp_path / "selfie" / "metrics.json").write_text(json.dumps(content))

    monkeypatch.setattr(selfie_run, "evaluate_and_train", evaluate_and_train)
    config = cifsel.get_config("selfie", photos="drawn", init_from="imagenet")
    run = cifsel.train(config, tmp_path / "selfie")
    assert repr(run) == f"Run({tmp_path / 'selfie'}: 19 of 24 <right>.)"
    assert "19 of 24 &lt;right&gt;." in run._repr_html_()
    assert run.figures == {}


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("config", ["effnet", {"task": "task1"}, None])
def test_what_is_no_config(config, tmp_path):
    with pytest.raises(cifsel.UserError, match=r"expected what cifsel.get_config\('effnet'"):
        cifsel.train(config, tmp_path / "run")


def test_a_config_that_cannot_be_leaves_nothing(tmp_path):
    config = cifsel.get_config("effnet")
    with config.unlocked():
        config.epocs = 3
    with pytest.raises(cifsel.UserError, match=r"no field 'epocs' .did you mean epochs"):
        cifsel.train(config, tmp_path / "run")
    with pytest.raises(cifsel.UserError, match=r"config.photos is None; expected a folder"):
        cifsel.train(cifsel.get_config("selfie"), tmp_path / "run")
    with pytest.raises(cifsel.UserError, match="'quickstart', which is more than one run"):
        cifsel.train(cifsel.get_config("quickstart"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_folders_that_are_no_runs(tmp_path):
    with pytest.raises(cifsel.UserError, match="is no run: give the workdir of one"):
        cifsel.open_run(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(cifsel.UserError, match="is unfinished: train it again"):
        cifsel.open_run(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(cifsel.UserError, match=r"metrics.json is not what a run wrote"):
        cifsel.open_run(tmp_path)
    with pytest.raises(cifsel.UserError, match="is not there: give the workdir of a run"):
        cifsel.load(tmp_path / "nowhere")


@pytest.fixture
def train_with(monkeypatch, tmp_path):
    """(exception) -> trains a run that raises it."""

    def train(error):
        def fail(*_):
            raise error

        monkeypatch.setattr(task1, "train_and_evaluate", fail)
        return cifsel.train(cifsel.get_config("effnet"), tmp_path / "run")

    return train


def test_failures_of_the_machine_are_user_errors_too(train_with):
    with pytest.raises(cifsel.UserError, match="No space left on device: make room there, or make"):
        train_with(OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(cifsel.UserError, match=r"out of memory .*: give a smaller batch_size"):
        train_with(MemoryError("too much"))
    with pytest.raises(ZeroDivisionError):
        train_with(ZeroDivisionError())


def test_an_interrupted_cell_is_told_that_all_is_saved(train_with, capsys):
    with pytest.raises(KeyboardInterrupt, match="the same call goes on from here"):
        train_with(Interrupted(signal.SIGINT))
    assert "the same call goes on from here" in capsys.readouterr().out


def test_a_signal_that_ends_the_process_is_handed_on(train_with, monkeypatch):
    raised = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    with pytest.raises(KeyboardInterrupt):
        train_with(Interrupted(signal.SIGTERM))
    assert raised == [signal.SIGTERM]


def test_load_restores_the_model_of_a_folder(monkeypatch, tmp_path):
    asked = []

    def load(folder):
        asked.append(folder)
        raise cifsel.UserError("enough")

    monkeypatch.setattr(predictors, "load", load)
    for given in (tmp_path, str(tmp_path)):
        with pytest.raises(cifsel.UserError, match="enough"):
            cifsel.load(given)
    assert asked == [str(tmp_path)] * 2
