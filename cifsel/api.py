"""cifsel from Python: `load`, `train`, `open_run`, `compare`. What goes wrong is a `UserError`."""

import contextlib
import dataclasses
import html
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from etils import epath
from ml_collections import ConfigDict

# JAX is imported inside functions, so that `import cifsel` and --help do not wait for it.
from cifsel.config.validation import validate
from cifsel.errors import UserError
from cifsel.runtime import remote, typed
from cifsel.runtime.console import console
from cifsel.runtime.failures import Advice, explained
from cifsel.runtime.remote import AnyPath
from cifsel.runtime.terminal import say

if TYPE_CHECKING:
    from cifsel.prediction.image_predictor import ImagePredictor
    from cifsel.workdir.summaries import Writer

PathLike: TypeAlias = str | os.PathLike[str]
_ADVICE = Advice(
    again="call it again, and it goes on from the last checkpoint",
    memory="give a smaller batch_size or image_size, or set accum_steps",
    stopped="stopped; the same call goes on from here",
)


@dataclasses.dataclass(frozen=True, repr=False)
class Results:
    """A folder of results that is complete.

    Attributes:
      workdir: the folder.
      metrics: all numbers, as the JSON file in the folder has them.
      summary: the result in a sentence.
    """

    workdir: AnyPath
    metrics: Mapping[str, Any]
    summary: str

    @property
    def report(self) -> AnyPath:
        """The page for people, report.html."""
        return self.workdir / "report.html"

    @property
    def figures(self) -> dict[str, AnyPath]:
        """The PNG files of the figures by name, such as 'confusion_matrix'."""
        return {path.stem: path for path in sorted((self.workdir / "figures").glob("*.png"))}

    def predictor(self) -> "ImagePredictor":
        """The model that the results are of. For a comparison, the better one. See `load`."""
        return load(self.workdir)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.workdir}: {self.summary})"

    def _repr_html_(self) -> str:
        name, words = html.escape(str(self.workdir)), html.escape(self.summary)
        return f"<p><b>{name}</b><br>{words}<br>figures: {html.escape(', '.join(self.figures))}</p>"


class Run(Results):
    """A finished run: its `metrics` are those of metrics.json, which docs/workdirs.md describes."""


class ComparedRuns(Results):
    """A comparison of runs: its `metrics` are those of comparison.json."""

    @property
    def verdict(self) -> str:
        """The choice, from validation images, in a sentence."""
        return str(self.metrics["verdict"])


def load(
    checkpoint: PathLike | Results | None = None, coverage: float | None = None
) -> "ImagePredictor":
    """Restores a model that answers for images.

    Args:
      checkpoint: a run, its workdir, the folder of a comparison, for the better model, or a model
        file. None for the model that cifsel comes with.
      coverage: least probability that the set of classes of an answer holds the true one, in 0..1.
        None for answers without sets.

    Raises:
      UserError: there is no checkpoint, or it is damaged. Or cifsel comes without a model, as an
        installation from a checkout without one does. Or the coverage is out of range, or too
        high for the number of images that the model was not trained on.
    """
    with _user_errors():
        from cifsel.prediction import coverage as sets
        from cifsel.prediction import published
        from cifsel.prediction.image_predictor import ImagePredictor
        from cifsel.prediction.predictor import load as load_predictor
        from cifsel.runtime import cache, libtpu

        libtpu.quiet()
        cache.keep_compiled()  # Compiling takes half of the time until the first answer.
        folder = published.path() if checkpoint is None else _folder(checkpoint)
        if not folder:
            raise UserError("this cifsel comes without a model: give a checkpoint to load")
        predictor = load_predictor(folder)
        if coverage is not None:
            predictor = sets.with_sets(predictor, folder, coverage)
        return ImagePredictor(predictor)


def train(config: ConfigDict, workdir: PathLike | None = None) -> Run:
    """Trains and evaluates a model, as the command of the same name does.

    The same call goes on with a run that was stopped, and opens one that is finished.

    Args:
      config: of task 1 or task 2, as `cifsel.get_config` returns it.
      workdir: where the run keeps everything. None for runs/<name>-<recipe>.

    Raises:
      UserError: the config, the data, the weights, the folder or the machine cannot be used.
      KeyboardInterrupt: the run was interrupted, and everything is saved.
    """
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"config is of type {type(config).__name__}; expected what cifsel.get_config('effnet',"
            " 'probe') returns"
        )
    validate(config)
    if config.task == "quickstart":
        raise UserError(
            "config.task is 'quickstart', which is more than one run; expected 'task1' or 'selfie'"
        )
    folder = "" if workdir is None else os.fspath(workdir)
    with _user_errors(), typed.called(f"cifsel.train(config, workdir={folder!r})"):
        return open_run(carry_out(config, folder))


def open_run(workdir: PathLike) -> Run:
    """Opens a finished run of task 1 or task 2.

    Raises:
      UserError: there is none in the folder, or it is not finished.
    """
    from cifsel import workdir as files

    folder = remote.path(workdir)
    if not (folder / files.METRICS).exists():
        begun = (folder / files.CONFIG).exists()
        problem = "is unfinished: train it again" if begun else "is no run: give the workdir of one"
        raise UserError(f"{folder} {problem}")
    metrics = files.read_json(epath.Path(folder / files.METRICS))
    return Run(folder, metrics, _summary(metrics, folder))


def compare(
    runs: Sequence[Run | PathLike], output: PathLike, reviewed: PathLike | None = None
) -> ComparedRuns:
    """Compares finished runs of task 1, and writes a report.

    Args:
      runs: at least two, or their workdirs. Those that differ by their seed alone count as one.
      output: a folder for the report. An earlier report in it is replaced.
      reviewed: a CSV file of what people said of labels of test images. docs/compare.md has its
        columns.

    Raises:
      UserError: a run is unfinished or damaged, the runs cannot be compared, their images are not
        available, or the file of labels cannot be used.
    """
    with _user_errors():
        from cifsel.comparison import comparing

        folder = os.fspath(output)
        file = None if reviewed is None else os.fspath(reviewed)
        comparison = comparing.compare([_folder(run) for run in runs], folder, file)
        sentence = f"{comparison.verdict} {comparison.on_test}"
        return ComparedRuns(remote.path(folder), comparison.to_json(), sentence)


def carry_out(config: ConfigDict, workdir: str = "") -> str:
    """Does what a config asks for, in the way of its task.

    Args:
      config: of any task, valid.
      workdir: '' for runs/<name>-<recipe>.

    Returns:
      The workdir.
    """
    # The tasks are imported here, so that mistakes in a config are said at once.
    if config.task == "task1":
        from cifsel import task1
        from cifsel.runtime import sharding

        with sharding.connected(config.distributed, config.processes, config.process):
            console.quiet = not sharding.is_main()
            return _begin(config, workdir, task1.train_and_evaluate)
    if config.task == "selfie":
        # scikit-learn takes a second to import, and task 1 needs none.
        from cifsel.selfie.run import evaluate_and_train

        return _begin(config, workdir, evaluate_and_train)
    from cifsel import sweep

    return _begin(config, workdir, lambda config, folder, _: sweep.quickstart(config, folder))


def _begin(
    config: ConfigDict, given: str, task: "Callable[[ConfigDict, str, Writer], object]"
) -> str:
    """Starts a task: chooses its workdir, says where it runs, and opens its summaries."""
    import jax

    from cifsel import workdir
    from cifsel.runtime.paths import expanded
    from cifsel.workdir import summaries

    folder = expanded(given) or workdir.default(config.name, config.recipe)
    devices = jax.devices()
    say(f"{len(devices)} x {devices[0].device_kind} ({jax.default_backend()}), workdir {folder}")
    with summaries.open_writer(folder) as writer:  # Makes a file only when it is written to.
        task(config, folder, writer)
    return folder


def _folder(given: PathLike | Results) -> str:
    return os.fspath(given.workdir if isinstance(given, Results) else given)


def _summary(metrics: Mapping[str, Any], folder: AnyPath) -> str:
    """The result of a run in a sentence."""
    try:
        if "sentence" in metrics:  # of task 2
            return str(metrics["sentence"])
        test = metrics["test"]
        low, high = test["accuracy_interval"]
        accuracy = f"{test['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%})"
        return f"{metrics['name']} {metrics['recipe']}: test accuracy {accuracy}"
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder / 'metrics.json'} is not what a run wrote: run it again"
        ) from error


@contextlib.contextmanager
def _user_errors() -> Iterator[None]:
    """Turns failures of the machine, such as a full disk, into a UserError as well."""
    from cifsel.runtime.signals import Interrupted

    try:
        yield
    except Interrupted as stopped:
        say(_ADVICE.stopped)
        if stopped.number != signal.SIGINT:
            signal.raise_signal(stopped.number)  # The process is to end, and may do so now.
        raise KeyboardInterrupt(_ADVICE.stopped) from None
    except Exception as error:
        failure = None if isinstance(error, UserError) else explained(error, _ADVICE)
        if failure is None:
            raise
        raise UserError(failure.message) from error
