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
from cifsel.comparison.checks import parse_metrics
from cifsel.config.validation import validate
from cifsel.data import augment
from cifsel.evaluation import cost, prediction_sets, split_score
from cifsel.evaluation.passes import Passes
from cifsel.models.cpu import compiler
from cifsel.reports.run_report import RunReport, show_results
from cifsel.runtime import command, executables, remote, sharding
from cifsel.runtime.bars import working
from cifsel.runtime.terminal import say
from cifsel.training import diagnosis, loop, plan, probe, profiling, steps
from cifsel.training.clock import Phases
from cifsel.training.progress import Progress, Start
from cifsel.training.results import RunMetrics
from cifsel.training.samples import Samples, training_samples
from cifsel.training.state import init_state
from cifsel.workdir import identity, lock, model_meta, provenance
from cifsel.workdir.checkpoints import FOLDER, Checkpoints
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
    if config.method != "probe":
        sharding.check_batch(config.batch_size, config.accum_steps)
    run = remote.place(folder)
    with lock.alone(run):
        workdir.check(run, config_lib.to_json(config))
        if sharding.on_main((run / workdir.METRICS).exists):
            say(f"{run} is finished already; its result is in {run / workdir.METRICS}")
            path = run / workdir.METRICS
            metrics = parse_metrics(workdir.read_json(path), path)
            show_results(run, metrics)
            return metrics
        phases = Phases()
        with phases.timed("data"):
            dataset = build.dataset(config)
        with phases.timed("weights"):
            model = build.pretrained(config, len(dataset.class_names))
        job = build.job(config, dataset, model)
        return Run(job, run, writer, phases).execute()


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


class Run:
    """A run of task 1: fit, score, report.

    Args:
      job: the objects of the run.
      folder: the workdir.
      writer: of TensorBoard summaries.
      phases: stopwatch of the phases. It has those of building the job already.
    """

    def __init__(self, job: Job, folder: epath.Path, writer: Writer, phases: Phases) -> None:
        self._job, self._folder, self._writer, self._phases = job, folder, writer, phases
        self._model, self._dataset = job.model.model, job.dataset
        self._passes = Passes(folder, self._model, job.view, job.eval_batch_size)

    def execute(self) -> RunMetrics:
        """Runs from the first step to metrics.json."""
        job = self._job
        workdir.write_json(self._folder / workdir.CONFIG, job.settings)
        report = RunReport(self._folder, self._dataset, self._writer, self._samples())
        report.start(job.settings, job.model.variables)
        with Checkpoints(self._folder) as checkpoints:
            fitted = self._fit(checkpoints)
        logits = self._predict(fitted)
        metrics = self._score(fitted, logits)
        with working("drawing the report"):
            report.finish(metrics, logits)
        workdir.remove_cached(self._folder)
        return metrics

    def _samples(self) -> Samples:
        """Training images for the report: augmented, or as a probe sees them."""
        job, objective = self._job, self._job.objective
        if job.fine_tuning is None:
            size, plain = job.view.image_size, augment.Policy()
            objective = dataclasses.replace(objective, image_size=size, policy=plain)
        train, classes = self._dataset.train, len(self._dataset.class_names)
        return training_samples(objective, job.seed, train, classes)

    def _fit(self, checkpoints: Checkpoints) -> Fitted:
        """Solves for the head, fine-tunes, or does both, and saves the classifier."""
        job, own = self._job, self._checkpoint_meta()
        meta = own.to_json()
        if checkpoints.latest is not None:
            folder = str(self._folder / FOLDER)
            identity.check_own(model_meta.parse(checkpoints.meta(), folder), own, folder)
        fitted = Fitted(job.model.variables, None, Progress())
        if job.search is not None:
            with self._phases.timed("probe"):
                fitted = self._solve_head(job.search)
        if job.fine_tuning is None:
            checkpoints.save(0, model=fitted.variables, meta=meta)
            return fitted
        trace = profiling.Trace(self._folder, job.fine_tuning.plan.profile_steps)
        output = plan.Output(checkpoints, meta, self._writer, trace)
        with self._phases.timed("training"):
            variables, progress = self._fine_tune(job.fine_tuning, fitted, output)
        # Includes earlier processes of this run, but not what comes after the last step.
        self._phases.seconds["training"] = progress.seconds
        return Fitted(variables, fitted.solution, progress)

    def _solve_head(self, search: probe.Search) -> Fitted:
        """Computes the features of the backbone as it is, and solves logistic regression."""
        variables, dataset = self._job.model.variables, self._dataset
        train, val = (
            probe.Labelled(self._passes.features(variables, split, name), split.labels)
            for name, split in (("train", dataset.train), ("val", dataset.val))
        )
        by_class = self._job.objective.class_weights
        weights = None if by_class is None else np.array(by_class, np.float32)
        solution = probe.fit(train, val, len(dataset.class_names), search, weights)
        say(
            f"probe: l2 {solution.chosen.l2:.1e} of {len(solution.trials)} tried,"
            f" validation loss {solution.chosen.val_loss:.3f},"
            f" accuracy {solution.chosen.val_accuracy:.1%}"
        )
        if self._job.fine_tuning is not None:
            # The curves of fine-tuning start here.
            start = {"val/loss": solution.chosen.val_loss}
            self._writer.write_scalars(0, start | {"val/accuracy": solution.chosen.val_accuracy})
        logits = {"kernel": jnp.asarray(solution.kernel), "bias": jnp.asarray(solution.bias)}
        params = variables["params"] | {"head": {"logits": sharding.everywhere(logits)}}
        return Fitted(variables | {"params": params}, solution, Progress())

    def _fine_tune(
        self, fine_tuning: FineTuning, fitted: Fitted, output: plan.Output
    ) -> tuple[Tree, Progress]:
        """Trains by gradient descent. Returns the variables of the best epoch, and the progress."""
        variables = fitted.variables
        model, dataset, objective = self._model, self._dataset, self._job.objective
        train, val, predict = dataset.train.images, dataset.val.images, self._passes.predict
        if objective.frozen_backbone:
            # The output of the backbone for an image never changes, so it is computed once.
            predict = jax.jit(functools.partial(model.apply, method="classify"))
            val = self._passes.maps(variables, dataset.val, "val")
            if objective.on_features:
                train = self._passes.maps(variables, dataset.train, "train")
        optimizer = fine_tuning.optimizer
        scan = executables.Kept(
            steps.make_scan(model, optimizer.tx, optimizer.rates, objective, sharding.replicated()),
            f"scan {model!r} {objective!r} {optimizer.about} {compiler.compiler_options()}",
            like=lambda state, *_: state,
        )
        diagnose = functools.partial(
            diagnosis.first_not_finite, model=model, rates=optimizer.rates, objective=objective
        )
        trainer = loop.Trainer(
            plan.Functions(scan, predict, optimizer.learning_rate, diagnose),
            plan.Examples(train, dataset.train.labels),
            plan.Examples(val, dataset.val.labels),
            fine_tuning.plan,
            output,
        )
        start = None
        if fitted.solution is not None:
            chosen = fitted.solution.chosen
            start = Start(chosen.val_loss, chosen.val_accuracy)
        # As one program, it is there sooner than with one for each shape of a layer.
        options = compiler.options_to_run_once()
        begin = jax.jit(init_state, static_argnums=(1, 2), compiler_options=options)
        return trainer.run(begin(variables, optimizer.tx, objective.ema_decay), start)

    def _predict(self, fitted: Fitted) -> dict[str, np.ndarray]:
        """Computes the logits (N, K) of the finished model, of 'val' and 'test'."""
        logits = {}
        for name, split in (("val", self._dataset.val), ("test", self._dataset.test)):
            with self._phases.timed(name):
                if self._job.fine_tuning is None and fitted.solution is not None:
                    # The features of the validation images have been computed already.
                    # Those of the test images are not kept: this pass measures the speed.
                    features = self._passes.features(
                        fitted.variables, split, name, keep=name == "val"
                    )
                    logits[name] = fitted.solution.logits(features)
                else:
                    logits[name] = self._passes.logits(fitted.variables, split, name)
        return logits

    def _score(self, fitted: Fitted, logits: dict[str, np.ndarray]) -> RunMetrics:
        """Computes the content of metrics.json."""
        dataset, settings = self._dataset, self._job.settings
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
        sets = tuple(
            prediction_sets.score(
                logits["val"],
                dataset.val.labels,
                logits["test"],
                dataset.test.labels,
                coarse_names=dataset.coarse_names,
                coarse_of=dataset.coarse_of,
                wanted=wanted,
            )
            for wanted in prediction_sets.COVERAGES
        )
        return RunMetrics(
            name=settings["name"],
            recipe=self._recipe(),
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
                self._model,
                fitted.variables,
                self._job.view,
                len(dataset.test),
                self._phases.seconds,
            ),
            weights=self._job.model.weights,
            provenance=provenance.environment(),
            sets=sets,
        )

    def _recipe(self) -> str:
        """Returns the name of the recipe. Where the number of images decided, it is the method."""
        recipe = str(self._job.settings["recipe"])
        if recipe != "auto":
            return recipe
        return "probe" if self._job.fine_tuning is None else "finetune"

    def _checkpoint_meta(self) -> ClassifierMeta:
        """Makes the description of the model that is saved with a checkpoint."""
        dataset, weights = self._dataset, self._job.model.weights
        return ClassifierMeta(
            config=self._job.settings,
            class_names=dataset.class_names,
            coarse_names=dataset.coarse_names,
            coarse_of=tuple(dataset.coarse_of.tolist()),
            image_side=dataset.train.images.shape[1],
            fingerprint=dataset.fingerprint,
            weights=dataclasses.asdict(weights) if weights else None,
        )


if __name__ == "__main__":
    command.refuse("cifsel.task1")
