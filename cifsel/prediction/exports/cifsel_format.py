"""A model in one file that cifsel reads, see `workdir.model_file`."""

import dataclasses
import importlib.metadata
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import Float

from cifsel import workdir
from cifsel.config import SELFIE, TASK1
from cifsel.config.schema import Place
from cifsel.errors import UserError, one_line
from cifsel.prediction import coverage, predictor, preprocessing, restoring
from cifsel.prediction.exports import metadata, parity, validation
from cifsel.prediction.exports.output import Export
from cifsel.prediction.exports.source import Source, in_float32
from cifsel.prediction.predictor import Predictor
from cifsel.prediction.selfie_model import SelfieModel
from cifsel.prediction.trained_model import TrainedModel
from cifsel.runtime import remote
from cifsel.runtime.paths import expanded, is_file
from cifsel.runtime.terminal import warn
from cifsel.training.results import RunMetrics
from cifsel.workdir import model_file
from cifsel.workdir.model_file import INT8, Facts

NAME = "cifsel"
# The largest loss of validation accuracy by int8, as a share of the images, is below this.
MAX_LOSS = 0.002


@dataclasses.dataclass(frozen=True)
class Measured:
    """Effect of rounding on the answers for the validation images.

    Attributes:
      images: number of validation images.
      before: accuracy on them in float32.
      after: accuracy of the rounded model.
      known: the probability of each true class by the rounded model.
    """

    images: int
    before: float
    after: float
    known: Float[np.ndarray, " n"]


def make(source: Source, folder: str, weights: str) -> Export:
    """Writes a model with rounded weights, and compares its answers with the predictor's.

    Args:
      source: the model.
      folder: of the run, or of the comparison.
      weights: 'float16' or 'int8'.

    Raises:
      UserError: the run is not finished, or int8 cannot be measured or lowers the accuracy.
    """
    run = restoring.run_of(remote.place(expanded(folder)))
    if is_file(run):
        raise UserError(f"{run} is a model file already: give the workdir of a run")
    record = _record(source, run)
    measured = _measured(source, weights)
    record["rounding"] = measured and {
        "images": measured.images,
        "before": measured.before,
        "after": measured.after,
    }
    known = measured.known if measured else _known(source.predictor, folder)
    trained, made = source.trained, source.predictor
    set_from = coverage.thresholds(dataclasses.replace(made, calibration=known), folder)
    facts = Facts(
        weights=weights,
        meta=_meta(trained),
        preprocessing=preprocessing.describe(source.name_of_model, trained.view, made.size),
        temperature=made.temperature,
        sure_from=made.sure_from,
        coverage={f"{wanted:g}": least for wanted, least in set_from.items()},
        record=record,
        licence=metadata.LICENCE,
        cifsel_version=importlib.metadata.version("cifsel"),
    )
    content = model_file.to_bytes(model_file.encode(_tree(trained), weights), facts, known)
    read_back = restoring.from_file(model_file.parse(content, "the export"))
    answers = predictor.of(in_float32(read_back)).probabilities
    described = dataclasses.replace(metadata.of(source, NAME), weights=weights)
    notes = () if measured is None else (_sentence(measured, weights),)
    return Export(content, described, parity.largest(answers, made), notes)


def _measured(source: Source, weights: str) -> Measured | None:
    """Does `measure`. None for float16 where there are no validation images.

    Raises:
      UserError: int8 cannot be measured, or lowers the accuracy by `MAX_LOSS` or more.
    """
    try:
        made = measure(source, weights)
    except UserError as error:
        if weights == INT8:
            raise
        if isinstance(source.trained, TrainedModel):
            warn(f"the accuracy is not measured: {error}")
        return None
    if weights == INT8 and round(made.before - made.after, 9) >= MAX_LOSS:
        raise UserError(
            f"{_sentence(made, weights)}. That is a loss of {100 * MAX_LOSS:g} points or more:"
            " nothing was written; leave --quantize out for weights in float16"
        )
    return made


def measure(source: Source, weights: str) -> Measured:
    """Answers for the validation images of the run, before and after rounding.

    Raises:
      UserError: the images cannot be had.
    """
    advice = "leave --quantize out" if weights == INT8 else "it is not needed"
    images, labels = validation.images_of(source, f"the accuracy in {weights}", advice)
    variables = model_file.rounded(source.trained.variables, weights)
    after = predictor.of(dataclasses.replace(source.trained, variables=variables))
    before = validation.probabilities(source.predictor.probabilities, images)
    rounded = validation.probabilities(after.probabilities, images)
    return Measured(
        len(labels),
        validation.accuracy(before, labels),
        validation.accuracy(rounded, labels),
        rounded[np.arange(len(labels)), labels],
    )


def _sentence(measured: Measured, weights: str) -> str:
    return (
        f"accuracy on {measured.images:,} validation images: {100 * measured.before:.2f} % in"
        f" float32, {100 * measured.after:.2f} % in {weights}"
    )


def _known(made: Predictor, folder: str) -> Float[np.ndarray, " n"] | None:
    """The probabilities of true classes that the run has written. None without any."""
    try:
        return None if made.task != predictor.TASK1 else coverage.true_probabilities(made, folder)
    except UserError:
        return None


def _tree(trained: TrainedModel | SelfieModel) -> dict[str, Any]:
    """All arrays of a model, as its checkpoint has them."""
    if isinstance(trained, TrainedModel):
        return dict(trained.variables)
    tree = {kind: {"backbone": trained.variables[kind]["backbone"]} for kind in trained.variables}
    tree["head"] = {"kernel": trained.kernel, "bias": trained.bias}
    if trained.typical is not None:
        tree["typical"] = {"mean": trained.typical.mean, "spread": trained.typical.spread}
    return tree


def _meta(trained: TrainedModel | SelfieModel) -> dict[str, Any]:
    """The meta of the checkpoint without paths, which say nothing on other machines."""
    if trained.meta is None:
        raise UserError("this model is of no checkpoint: export one that a run has saved")
    content, fields = trained.meta.to_json(), TASK1.fields | SELFIE.fields
    config = {
        name: None if isinstance(fields.get(name), Place) else value
        for name, value in content["config"].items()
    }
    if weights := content["config"].get("weights"):  # 'imagenet', 'none', or the path of a file
        config["weights"] = PurePath(weights).name
    content["config"] = config
    if "init_from" in content:
        content["init_from"] = PurePath(content["init_from"]).name
    return content


def _record(source: Source, run: epath.Path) -> dict[str, Any]:
    """How the model was made, and how well it did.

    Raises:
      UserError: the run is not finished, or its metrics are damaged.
    """
    content = workdir.read_json(run / workdir.METRICS)
    try:
        of_task = _of_photos if isinstance(source.trained, SelfieModel) else _of_run
        return {"checkpoint_sha256": source.trained.digest, **of_task(content)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{run / workdir.METRICS} is not what a run wrote ({one_line(error)}): run it again in"
            " a new folder"
        ) from error


def _of_photos(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: metrics[name] for name in ("sentence", "finished", "git_commit", "versions")}


def _of_run(content: Mapping[str, Any]) -> dict[str, Any]:
    metrics = RunMetrics.from_json(content)
    provenance = metrics.provenance
    return {
        "name": metrics.name,
        "recipe": metrics.recipe,
        "dataset": metrics.dataset,
        "seed": metrics.config["seed"],
        "examples": metrics.examples,
        "validation": _score(metrics.val),
        "test": _score(metrics.test),
        "test_by_class": {name: score.accuracy for name, score in metrics.test.per_class.items()},
        "parameters": metrics.cost.parameters,
        "command": provenance.command,
        "finished": provenance.finished,
        "git_commit": provenance.git_commit,
        "devices": provenance.devices.words,
        "versions": provenance.versions,
    }


def _score(score: Any) -> dict[str, Any]:
    return {
        "images": score.examples,
        "accuracy": score.accuracy,
        "interval": list(score.accuracy_interval),
    }
