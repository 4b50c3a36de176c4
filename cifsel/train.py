"""Task 1: one model, from its published weights to test accuracy. Reads top to bottom."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from cifsel import config as config_lib
from cifsel import evaluate, finetune, optim, probe, report, steps, workdir
from cifsel.checkpoints import Checkpoints
from cifsel.data import augment, cifar, splits, synthetic
from cifsel.models.classifier import Classifier, build
from cifsel.summaries import Writer
from cifsel.terminal import say
from cifsel.weights import download, keras_h5

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
      finetune.Interrupted: after Ctrl-C, with everything saved.
    """
    config_lib.validate(config)
    run, settings = epath.Path(folder), config_lib.to_json(config)
    workdir.check(run, settings)
    if (run / workdir.METRICS).exists():
        say(f"{run} is finished already; its result is in {run / workdir.METRICS}")
        return workdir.read_json(run / workdir.METRICS)

    seconds: dict[str, float] = {}
    with _timed(seconds, "data"):
        dataset = load_data(config)
    with _timed(seconds, "weights"):
        model, variables, weights = load_model(config, len(dataset.class_names))
    workdir.write_json(run / workdir.CONFIG, settings)
    results = report.Report(run, dataset, writer)
    results.start(settings, variables, _augmented(config, dataset.train))

    with Checkpoints(run) as checkpoints:
        meta = _about(settings, dataset, weights)
        solution, progress = None, finetune.Progress()
        if config.method == "probe" or config.init_head == "probe":
            with _timed(seconds, "probe"):
                variables, solution = fit_head(config, model, variables, dataset, run)
        if config.method == "probe":
            checkpoints.save(0, model=variables, meta=meta)
        else:
            with _timed(seconds, "training"):
                variables, progress = fine_tune(
                    config, model, variables, dataset, run, checkpoints, meta, writer
                )
    logits = {}
    predict = make_predict(config, model)
    for name, split in (("val", dataset.val), ("test", dataset.test)):
        with _timed(seconds, name):
            logits[name] = evaluate.map_batches(
                functools.partial(predict, variables),
                split.images,
                config.eval_batch_size,
                progress=f"predicting the {name} images",
            )
    cost = _cost(config, model, variables) | {
        # The validation images came first and compiled it.
        "images_per_second": len(dataset.test) / seconds["test"],
        "passes_per_image": 2 if config.mirror else 1,
        "seconds": seconds | ({"training": progress.seconds} if progress.history else {}),
    }
    found = report.Results(logits, progress, solution, cost, weights)
    metrics = results.finish(settings, found)
    workdir.remove_cached(run)
    return metrics


def load_data(config: ConfigDict) -> splits.Dataset:
    """The images a config asks for, with their split."""
    if config.dataset == "drawn":
        say("drawing 50 classes of synthetic images (these are not photographs)")
        dataset = synthetic.drawn_classes(
            train_per_class=100, val_per_class=50, test_per_class=50, seed=config.split_seed
        )
    else:
        say("reading CIFAR-100's animals and people")
        dataset = cifar.load(
            config.data_dir,
            try_gcs=config.try_gcs,
            val_per_class=config.val_per_class,
            seed=config.split_seed,
        )
    dataset = splits.subset(
        dataset,
        train_fraction=config.train_fraction,
        train_examples=config.train_examples,
        test_examples=config.test_examples,
        seed=config.split_seed,
    )
    say(
        f"{len(dataset.train):,} training, {len(dataset.val):,} validation and"
        f" {len(dataset.test):,} test images of {len(dataset.class_names)} classes"
    )
    return dataset


def load_model(
    config: ConfigDict, num_classes: int
) -> tuple[Classifier, Tree, dict[str, Any] | None]:
    """The classifier, its variables with a new head, and which file the backbone came from."""
    dtype = config.dtype
    if dtype == "auto":
        dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    model = build(
        config.model,
        num_classes=num_classes,
        alpha=config.alpha,
        drop_path=config.drop_path,
        dropout=config.dropout,
        pool=config.pool,
        hidden=config.hidden,
        dtype=jnp.dtype(dtype),
    )
    size = config.image_size
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    variables = jax.jit(model.init)(key, jnp.zeros((1, size, size, 3)))
    variables = {name: variables[name] for name in ("params", "batch_stats")}
    if config.weights == "none":
        say(f"{config.model} at {size} px, from scratch")
        return model, variables, None
    if config.weights == "imagenet":
        path = download.find(
            config.model,
            alpha=config.alpha,
            resolution=config.weights_resolution,
            top=False,
            weights_dir=config.weights_dir,
        )
    else:
        path = download.use_file(config.weights)
    tensors = keras_h5.read_tensors(path)
    variables = keras_h5.convert(tensors, variables, model=config.model, head=False, path=path)
    digest = keras_h5.tensors_sha256(tensors)
    say(f"{config.model} at {size} px, weights from {path} (tensors {digest[:12]})")
    return model, variables, {"file": path.name, "tensors_sha256": digest}


def make_predict(config: ConfigDict, model: Classifier) -> Callable[[Tree, jax.Array], jax.Array]:
    """Jitted (variables, images (B, h, w, 3) uint8) -> logits (B, K), mirror-averaged if asked."""

    def predict(variables: Tree, images: jax.Array) -> jax.Array:
        views = _views(config, images)
        return sum(model.apply(variables, view) for view in views) / len(views)

    return jax.jit(predict)


def fit_head(
    config: ConfigDict, model: Classifier, variables: Tree, dataset: splits.Dataset, run: epath.Path
) -> tuple[Tree, probe.Solution]:
    """Caches the features of the backbone as it is, and solves for the head."""

    def features(variables: Tree, images: jax.Array) -> jax.Array:
        views = _views(config, images)
        return sum(model.apply(variables, view, method="features") for view in views) / len(views)

    forward = functools.partial(jax.jit(features), variables)
    train, val = (
        (_cached(config, forward, split, run, name), split.labels)
        for name, split in (("train", dataset.train), ("val", dataset.val))
    )
    solution = probe.fit(
        train,
        val,
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
    params = variables["params"] | {"head": {"logits": head}}
    return variables | {"params": params}, solution


def fine_tune(
    config: ConfigDict,
    model: Classifier,
    variables: Tree,
    dataset: splits.Dataset,
    run: epath.Path,
    checkpoints: Checkpoints,
    meta: dict[str, Any],
    writer: Writer,
) -> tuple[Tree, finetune.Progress]:
    """Descends gradients; returns the best variables and how it went."""
    policy = augment.Policy(**config.augment)
    frozen = config.trainable_layers == 0
    on_features = frozen and policy == augment.Policy()
    objective = steps.Objective(
        image_size=config.image_size,
        resize=config.resize,
        policy=policy,
        on_features=on_features,
        frozen_backbone=frozen,
        frozen_bn=config.frozen_bn,
        label_smoothing=config.label_smoothing,
        activity_l1=config.activity_l1,
        ema_decay=config.ema_decay,
    )
    steps_per_epoch = -(-len(dataset.train) // config.batch_size)
    learning_rate = optim.schedule(
        config.schedule,
        config.learning_rate,
        warmup_steps=round(config.warmup_epochs * steps_per_epoch),
        total_steps=config.epochs * steps_per_epoch,
    )
    rates = optim.rates_by_parameter(
        variables["params"],
        optim.layer_rates(
            model.backbone.layer_names,
            backbone_rate=config.backbone_rate,
            layer_decay=config.layer_decay,
            trainable_layers=config.trainable_layers,
        ),
    )
    tx = optim.make(
        config.optimizer,
        learning_rate,
        rates=rates,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
    )
    train, val = dataset.train.images, dataset.val.images
    predict = make_predict(config, model)
    if on_features:
        say("the backbone is frozen and images do not change: training on cached feature maps")
        train, val = _feature_maps(config, model, variables, dataset, run)
        predict = jax.jit(functools.partial(model.apply, method="classify"))
    per_call = 1 if jax.default_backend() == "cpu" else 0
    trainer = finetune.Trainer(
        steps.make_scan(model, tx, rates, objective),
        predict,
        (train, dataset.train.labels),
        (val, dataset.val.labels),
        plan=finetune.Plan(
            epochs=config.epochs,
            batch_size=config.batch_size,
            patience=config.patience,
            steps_per_call=config.steps_per_call or per_call,
            checkpoint_minutes=config.checkpoint_minutes,
            seed=config.seed,
        ),
        learning_rate=learning_rate,
        eval_batch_size=config.eval_batch_size,
        checkpoints=checkpoints,
        meta=meta,
        writer=writer,
    )
    return trainer.run(steps.init_state(variables, tx, config.ema_decay))


def _views(config: ConfigDict, images: jax.Array) -> list[jax.Array]:
    """(B, h, w, 3) uint8 -> the images at the model's size, and mirrored if the config says so."""
    images = augment.resize(images, config.image_size, config.resize)
    return [images, images[:, :, ::-1]] if config.mirror else [images]


def _cached(
    config: ConfigDict,
    forward: Callable[[jax.Array], jax.Array],
    split: splits.Split,
    run: epath.Path,
    name: str,
) -> np.ndarray:
    """What a fixed function makes of a split, kept in the workdir until the run is finished."""
    return workdir.cached_array(
        run,
        name,
        lambda: evaluate.map_batches(
            forward, split.images, config.eval_batch_size, progress=f"features, {name} images"
        ),
    )


def _feature_maps(
    config: ConfigDict, model: Classifier, variables: Tree, dataset: splits.Dataset, run: epath.Path
) -> list[np.ndarray]:
    """The backbone's output for the training and validation images, as small as the head allows."""

    def feature_map(variables: Tree, images: jax.Array) -> jax.Array:
        images = augment.resize(images, config.image_size, config.resize)
        maps = model.apply(variables, images, method="feature_map").astype(jnp.float32)
        return maps.mean((1, 2), keepdims=True) if config.pool == "average" else maps

    forward = functools.partial(jax.jit(feature_map), variables)
    parts = (("train_maps", dataset.train), ("val_maps", dataset.val))
    return [_cached(config, forward, split, run, name) for name, split in parts]


def _augmented(config: ConfigDict, split: splits.Split) -> np.ndarray:
    """Some training images as a step would see them, (32, S, S, 3) uint8."""
    keys = jax.random.split(jax.random.key(config.seed))
    policy = augment.Policy(**config.augment)
    images = jnp.asarray(split.images[:: max(1, len(split) // 32)][:32])
    images = augment.augment(keys[0], images, policy, config.image_size, config.resize)
    images, _ = augment.mix(keys[1], images, jnp.ones((len(images), 1)), policy)
    return np.asarray(images.round(), np.uint8)


def _about(
    settings: dict[str, Any], dataset: splits.Dataset, weights: dict[str, Any] | None
) -> dict[str, Any]:
    """What a checkpoint must say to be enough by itself."""
    return {
        "config": settings,
        "class_names": list(dataset.class_names),
        "coarse_names": list(dataset.coarse_names),
        "coarse_of": dataset.coarse_of.tolist(),
        "fingerprint": dataset.fingerprint,
        "weights": weights,
    }


def _cost(config: ConfigDict, model: Classifier, variables: Tree) -> dict[str, Any]:
    """Size, and arithmetic of one forward pass of one image as XLA counts it."""
    image = jax.ShapeDtypeStruct((1, config.image_size, config.image_size, 3), jnp.float32)
    lowered = jax.jit(model.apply).lower(variables, image)
    analysis = lowered.cost_analysis() or {}
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    return {"parameters": count, "flops_per_image": analysis.get("flops")}


@contextlib.contextmanager
def _timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[phase] = time.perf_counter() - began
