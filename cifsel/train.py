"""Task 1: one model, from its published weights to test accuracy. Reads top to bottom."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from cifsel import build, recipe, workdir
from cifsel.config import loading as config_lib
from cifsel.config.validation import validate
from cifsel.data import augment, splits
from cifsel.evaluation import features, inference
from cifsel.models.classifier import Classifier
from cifsel.reports import run_report
from cifsel.runtime import remote, sharding
from cifsel.terminal import say
from cifsel.training import diagnosis, loop, probe, profiling, steps
from cifsel.workdir import lock
from cifsel.workdir.checkpoints import Checkpoints
from cifsel.workdir.summaries import Writer

Tree = Any


def train_and_evaluate(config: ConfigDict, folder: str, writer: Writer) -> dict[str, Any]:
    """Runs what the config describes, or goes on with it, and leaves everything in the folder.

    Args:
      config: as configs/common.py describes it.
      folder: the workdir, local or gs://.
      writer: of summaries.

    Returns:
      What metrics.json holds.

    Raises:
      UserError: something given cannot be used.
      Interrupted: after Ctrl-C or SIGTERM, with everything saved.
    """
    validate(config)
    if config.method == "finetune":
        sharding.check_batch(config.batch_size, config.accum_steps)
    run, settings = remote.place(folder), config_lib.to_json(config)
    with lock.alone(run):
        workdir.check(run, settings)
        if sharding.on_main((run / workdir.METRICS).exists):
            say(f"{run} is finished already; its result is in {run / workdir.METRICS}")
            return workdir.read_json(run / workdir.METRICS)
        return _from_data_to_metrics(config, settings, run, writer)


def _from_data_to_metrics(
    config: ConfigDict, settings: dict[str, Any], run: epath.Path, writer: Writer
) -> dict[str, Any]:
    seconds: dict[str, float] = {}
    with _timed(seconds, "data"):
        dataset = build.dataset(config)
    with _timed(seconds, "weights"):
        model, variables, weights = build.model(config, len(dataset.class_names))
        variables = sharding.everywhere(variables)
    workdir.write_json(run / workdir.CONFIG, settings)
    results = run_report.Report(run, dataset, writer)
    results.start(settings, variables, augmented_samples(config, dataset.train))

    job = Job(config, run, dataset, model)
    solution, progress = None, loop.Progress()
    with Checkpoints(run) as checkpoints:
        meta = _about(settings, dataset, weights)
        if config.method == "probe" or config.init_head == "probe":
            with _timed(seconds, "probe"):
                variables, solution = fit_head(job, variables)
        if config.method == "probe":
            checkpoints.save(0, model=variables, meta=meta)
        else:
            with _timed(seconds, "training"):
                variables, progress = fine_tune(job, variables, checkpoints, meta, writer)
            seconds["training"] = progress.seconds

    logits = {}
    for name, split in (("val", dataset.val), ("test", dataset.test)):
        with _timed(seconds, name):
            logits[name] = predictions(job, variables, solution, name, split)
    cost = _cost(job, variables, seconds)
    found = run_report.Results(logits, progress, solution, cost, weights)
    metrics = results.finish(settings, found)
    workdir.remove_cached(run)
    return metrics


@dataclasses.dataclass(frozen=True)
class Job:
    """What all parts of a run share."""

    config: ConfigDict
    folder: epath.Path
    dataset: splits.Dataset
    model: Classifier

    @property
    def view(self) -> features.View:
        """How images are shown to the model when it does not train."""
        return features.View(self.config.image_size, self.config.resize, self.config.mirror)

    @functools.cached_property
    def predict(self) -> features.Forward:
        """The model's logits; one function, so that training and scoring compile it once."""
        return features.logits(self.model, self.view)

    def map(
        self, forward: features.Forward, variables: Tree, images: np.ndarray, label: str
    ) -> np.ndarray:
        """Applies `forward` to all images, with a progress bar."""
        forward_batch = functools.partial(forward, variables)
        return inference.map_batches(
            forward_batch, images, self.config.eval_batch_size, progress=label
        )

    @functools.cached_property
    def _pooled(self) -> features.Forward:
        return features.pooled(self.model, self.view)

    def pooled_features(self, name: str, variables: Tree, split: splits.Split) -> np.ndarray:
        """What the backbone makes of a split, (N, D) float32, computed once."""
        return self.cached(f"{name}_features", self._pooled, variables, split)

    def cached(
        self, name: str, forward: features.Forward, variables: Tree, split: splits.Split
    ) -> np.ndarray:
        """`map` of the untrained variables, kept in the workdir until the run is finished."""
        label = name.replace("_", " ")
        return workdir.cached_array(
            self.folder,
            name,
            lambda: self.map(forward, variables, split.images, label),
            lambda: jax.eval_shape(forward, variables, split.images),
        )


def fit_head(job: Job, variables: Tree) -> tuple[Tree, probe.Solution]:
    """Caches the features of the backbone as it is, and solves for the head."""
    config, dataset = job.config, job.dataset
    solution = probe.fit(
        (job.pooled_features("train", variables, dataset.train), dataset.train.labels),
        (job.pooled_features("val", variables, dataset.val), dataset.val.labels),
        num_classes=len(dataset.class_names),
        l2_grid=config.probe_l2,
        max_steps=config.probe_steps,
        tolerance=config.probe_tolerance,
    )
    say(
        f"probe: l2 {solution.chosen.l2:.1e} of {len(solution.trials)} tried,"
        f" validation loss {solution.chosen.val_loss:.3f},"
        f" accuracy {solution.chosen.val_accuracy:.1%}"
    )
    head = {"kernel": jnp.asarray(solution.kernel), "bias": jnp.asarray(solution.bias)}
    params = variables["params"] | {"head": {"logits": sharding.everywhere(head)}}
    return variables | {"params": params}, solution


def predictions(
    job: Job, variables: Tree, solution: probe.Solution | None, name: str, split: splits.Split
) -> np.ndarray:
    """Logits (N, K) float32 of the finished model."""
    if job.config.method == "probe" and solution:
        # A linear head of averaged features: those of the validation images are there already.
        return job.pooled_features(name, variables, split) @ solution.kernel + solution.bias
    return job.map(job.predict, variables, split.images, f"predicting {name} images")


def fine_tune(
    job: Job, variables: Tree, checkpoints: Checkpoints, meta: dict[str, Any], writer: Writer
) -> tuple[Tree, loop.Progress]:
    """Descends gradients; returns the best variables and how it went."""
    config, model, dataset = job.config, job.model, job.dataset
    train, val = dataset.train.images, dataset.val.images
    objective, predict = recipe.objective(config), job.predict
    if objective.frozen_backbone:
        # What it makes of an image never changes: once is enough.
        forward = features.maps(model, dataclasses.replace(job.view, mirror=False))
        predict = jax.jit(functools.partial(model.apply, method="classify"))
        val = job.cached("val_maps", forward, variables, dataset.val)
        if objective.on_features:
            train = job.cached("train_maps", forward, variables, dataset.train)
    learning_rate, rates, tx = recipe.optimizer(config, model, variables["params"], len(train))
    trainer = loop.Trainer(
        steps.make_scan(model, tx, rates, objective, sharding.replicated()),
        predict,
        (train, dataset.train.labels),
        (val, dataset.val.labels),
        plan=loop.Plan(
            epochs=config.epochs,
            batch_size=config.batch_size,
            patience=config.patience,
            steps_per_call=recipe.steps_per_call(config, len(train), jax.default_backend()),
            checkpoint_minutes=config.checkpoint_minutes,
            seed=config.seed,
        ),
        learning_rate=learning_rate,
        eval_batch_size=config.eval_batch_size,
        checkpoints=checkpoints,
        meta=meta,
        writer=writer,
        trace=profiling.Trace(job.folder, config.profile_steps),
        diagnose=functools.partial(
            diagnosis.first_bad, model=model, rates=rates, objective=objective
        ),
    )
    return trainer.run(steps.init_state(variables, tx, config.ema_decay))


def augmented_samples(config: ConfigDict, split: splits.Split, count: int = 32) -> np.ndarray:
    """Some training images as a step would see them, (N, S, S, 3) uint8."""
    keys = jax.random.split(jax.random.key(config.seed))
    policy = augment.Policy(**config.augment)

    @jax.jit  # Operation by operation it would take longer than some runs' training.
    def augmented(images: jax.Array) -> jax.Array:
        images = augment.augment_images(
            keys[0], images, policy, recipe.train_size(config), config.resize
        )
        images, _ = augment.mix(keys[1], images, jnp.ones((len(images), 1)), policy)
        return images.round().astype(jnp.uint8)

    return np.asarray(augmented(split.images[:: max(1, len(split) // count)][:count]))


def _about(
    settings: dict[str, Any], dataset: splits.Dataset, weights: dict[str, Any] | None
) -> dict[str, Any]:
    """What a checkpoint must say to be enough by itself."""
    return {
        "config": settings,
        "class_names": list(dataset.class_names),
        "coarse_names": list(dataset.coarse_names),
        "coarse_of": dataset.coarse_of.tolist(),
        "image_side": dataset.train.images.shape[1],
        "fingerprint": dataset.fingerprint,
        "weights": weights,
    }


def _cost(job: Job, variables: Tree, seconds: dict[str, float]) -> dict[str, Any]:
    """Size, arithmetic of one forward pass of one image as XLA counts it, speed, and time."""
    size = job.config.image_size
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    analysis = jax.jit(job.model.apply).lower(variables, image).cost_analysis() or {}
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(variables["params"])),
        "flops_per_image": analysis.get("flops"),
        "passes_per_image": 2 if job.config.mirror else 1,
        # The validation images came first, so this is without compiling.
        "images_per_second": len(job.dataset.test) / seconds["test"],
        "seconds": seconds,
    }


@contextlib.contextmanager
def _timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[phase] = time.perf_counter() - began
