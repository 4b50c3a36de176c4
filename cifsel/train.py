"""Task 1: one model, from its published weights to its test accuracy. Reads top to bottom."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from cifsel import build, workdir
from cifsel import config as config_lib
from cifsel.build import FineTuning, Job
from cifsel.config.validation import validate
from cifsel.evaluation import cost, split_score
from cifsel.evaluation.passes import Passes
from cifsel.reports.run_report import RunReport
from cifsel.runtime import remote, sharding
from cifsel.terminal import say
from cifsel.training import diagnosis, loop, probe, profiling, steps
from cifsel.training.clock import Phases
from cifsel.training.progress import Progress
from cifsel.training.results import RunMetrics
from cifsel.training.state import init_state
from cifsel.workdir import lock, provenance
from cifsel.workdir.checkpoints import Checkpoints
from cifsel.workdir.model_meta import ClassifierMeta
from cifsel.workdir.summaries import Writer

Tree = Any


def train_and_evaluate(config: ConfigDict, folder: str, writer: Writer) -> RunMetrics:
    """Does the run that a config describes, or goes on with it.

    Args:
      config: as configs/common.py describes it.
      folder: the workdir, local or gs://. Everything that the run makes is left there.
      writer: of TensorBoard summaries.

    Returns:
      The content of metrics.json.

    Raises:
      UserError: the config, the data, the weights or the workdir cannot be used.
      Interrupted: after Ctrl-C or SIGTERM, with everything saved.
    """
    validate(config)
    if config.method == "finetune":
        sharding.check_batch(config.batch_size, config.accum_steps)
    run = remote.place(folder)
    with lock.alone(run):
        workdir.check(run, config_lib.to_json(config))
        if sharding.on_main((run / workdir.METRICS).exists):
            say(f"{run} is finished already; its result is in {run / workdir.METRICS}")
            return RunMetrics.from_json(workdir.read_json(run / workdir.METRICS))
        phases = Phases()
        with phases.timed("data"):
            dataset = build.dataset(config)
        with phases.timed("weights"):
            model = build.pretrained(config, len(dataset.class_names))
        return _fit_score_report(build.job(config, dataset, model), phases, run, writer)


def _fit_score_report(job: Job, phases: Phases, run: epath.Path, writer: Writer) -> RunMetrics:
    workdir.write_json(run / workdir.CONFIG, job.settings)
    report = RunReport(run, job.dataset, writer)
    report.start(job.settings, job.model.variables, job.samples)
    passes = Passes(run, job.model.model, job.view, job.eval_batch_size)
    trace = profiling.Trace(run, job.fine_tuning.plan.profile_steps if job.fine_tuning else 0)
    with Checkpoints(run) as checkpoints:
        output = loop.Output(checkpoints, _checkpoint_meta(job), writer, trace)
        fitted = fit(job, phases, passes, output)
    logits = predict(job, phases, passes, fitted)
    metrics = score(job, phases, fitted, logits)
    report.finish(metrics, logits, fitted.solution)
    workdir.remove_cached(run)
    return metrics


# --- fit -----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A fitted classifier.

    Attributes:
      variables: its `params` and `batch_stats`.
      solution: the probe's solution. None without a probe.
      progress: of fine-tuning. Empty for a probe.
    """

    variables: Tree
    solution: probe.Solution | None
    progress: Progress


def fit(job: Job, phases: Phases, passes: Passes, output: loop.Output) -> Fitted:
    """Solves for the head, fine-tunes, or does both, and saves the classifier."""
    fitted = Fitted(job.model.variables, None, Progress())
    if job.search is not None:
        with phases.timed("probe"):
            fitted = solve_head(job, job.search, passes)
    if job.fine_tuning is None:
        output.checkpoints.save(0, model=fitted.variables, meta=output.meta)
        return fitted
    with phases.timed("training"):
        variables, progress = fine_tune(job, job.fine_tuning, passes, fitted.variables, output)
    # Including earlier processes of this run, but without what came after the last step.
    phases.seconds["training"] = progress.seconds
    return Fitted(variables, fitted.solution, progress)


def solve_head(job: Job, search: probe.Search, passes: Passes) -> Fitted:
    """Computes the features of the backbone as it is, and solves logistic regression on them."""
    variables, dataset = job.model.variables, job.dataset
    train, val = (
        probe.Labelled(passes.features(variables, split, name), split.labels)
        for name, split in (("train", dataset.train), ("val", dataset.val))
    )
    solution = probe.fit(train, val, len(dataset.class_names), search)
    say(
        f"probe: l2 {solution.chosen.l2:.1e} of {len(solution.trials)} tried,"
        f" validation loss {solution.chosen.val_loss:.3f},"
        f" accuracy {solution.chosen.val_accuracy:.1%}"
    )
    logits = {"kernel": jnp.asarray(solution.kernel), "bias": jnp.asarray(solution.bias)}
    params = variables["params"] | {"head": {"logits": sharding.everywhere(logits)}}
    return Fitted(variables | {"params": params}, solution, Progress())


def fine_tune(
    job: Job, fine_tuning: FineTuning, passes: Passes, variables: Tree, output: loop.Output
) -> tuple[Tree, Progress]:
    """Trains by gradient descent. Returns the variables of the best epoch, and the progress."""
    model, dataset, objective = job.model.model, job.dataset, fine_tuning.objective
    train, val, predict = dataset.train.images, dataset.val.images, passes.predict
    if objective.frozen_backbone:
        # The output of the backbone for an image never changes, so it is computed once.
        predict = jax.jit(functools.partial(model.apply, method="classify"))
        val = passes.maps(variables, dataset.val, "val")
        if objective.on_features:
            train = passes.maps(variables, dataset.train, "train")
    optimizer = fine_tuning.optimizer
    scan = steps.make_scan(model, optimizer.tx, optimizer.rates, objective, sharding.replicated())
    diagnose = functools.partial(
        diagnosis.first_not_finite, model=model, rates=optimizer.rates, objective=objective
    )
    trainer = loop.Trainer(
        loop.Functions(scan, predict, optimizer.learning_rate, diagnose),
        loop.Examples(train, dataset.train.labels),
        loop.Examples(val, dataset.val.labels),
        fine_tuning.plan,
        output,
    )
    return trainer.run(init_state(variables, optimizer.tx, objective.ema_decay))


def _checkpoint_meta(job: Job) -> dict[str, Any]:
    """Makes the description of the model that is saved with a checkpoint, JSON-ready."""
    dataset, weights = job.dataset, job.model.weights
    meta = ClassifierMeta(
        config=job.settings,
        class_names=dataset.class_names,
        coarse_names=dataset.coarse_names,
        coarse_of=tuple(dataset.coarse_of.tolist()),
        image_side=dataset.train.images.shape[1],
        fingerprint=dataset.fingerprint,
        weights=dataclasses.asdict(weights) if weights else None,
    )
    return meta.to_json()


# --- score ---------------------------------------------------------------------------------------


def predict(job: Job, phases: Phases, passes: Passes, fitted: Fitted) -> dict[str, np.ndarray]:
    """Computes the logits (N, K) of the finished model, of 'val' and 'test'."""
    logits = {}
    for name, split in (("val", job.dataset.val), ("test", job.dataset.test)):
        with phases.timed(name):
            if job.fine_tuning is None and fitted.solution is not None:
                # The features of the validation images have been computed already.
                features = passes.features(fitted.variables, split, name)
                logits[name] = fitted.solution.logits(features)
            else:
                logits[name] = passes.logits(fitted.variables, split, name)
    return logits


def score(job: Job, phases: Phases, fitted: Fitted, logits: dict[str, np.ndarray]) -> RunMetrics:
    """Computes the content of metrics.json."""
    dataset, settings = job.dataset, job.settings
    scores = {
        name: split_score.score(
            logits[name],
            split.labels,
            dataset.class_names,
            dataset.coarse_names,
            dataset.coarse_of,
        )
        for name, split in (("val", dataset.val), ("test", dataset.test))
    }
    return RunMetrics(
        name=settings["name"],
        recipe=settings["recipe"],
        model=settings["model"],
        dataset=settings["dataset"],
        examples={name: len(getattr(dataset, name)) for name in ("train", "val", "test")},
        fingerprint=dataset.fingerprint,
        config=settings,
        val=scores["val"],
        test=scores["test"],
        training=fitted.progress,
        probe=fitted.solution.to_json() if fitted.solution else None,
        cost=cost.measure(
            job.model.model, fitted.variables, job.view, len(dataset.test), phases.seconds
        ),
        weights=job.model.weights,
        provenance=provenance.environment(),
    )
