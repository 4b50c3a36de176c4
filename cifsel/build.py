"""What a config's run starts from: its images, and its model with published weights."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from cifsel.data import cifar, drawn_images, splits
from cifsel.models.classifier import Classifier, build, initial
from cifsel.models.weights import download, h5_file, keras_h5
from cifsel.terminal import say

Tree = Any


def dataset(config: ConfigDict) -> splits.Dataset:
    """The images a config asks for, with their split."""
    if config.dataset == "drawn":
        say("drawing 50 classes of synthetic images (these are not photographs)")
        found = drawn_images.draw_classes(
            train_per_class=100, val_per_class=50, test_per_class=50, seed=config.split_seed
        )
    else:
        say("reading CIFAR-100's animals and people")
        found = cifar.load_cifar(
            config.data_dir,
            try_gcs=config.try_gcs or jax.default_backend() == "tpu",
            val_per_class=config.val_per_class,
            seed=config.split_seed,
        )
    found = splits.subset(
        found,
        train_fraction=config.train_fraction,
        train_examples=config.train_examples,
        test_examples=config.test_examples,
        seed=config.split_seed,
    )
    say(
        f"{len(found.train):,} training, {len(found.val):,} validation and"
        f" {len(found.test):,} test images of {len(found.class_names)} classes"
    )
    return found


def classifier(
    config: ConfigDict, num_classes: int, platform: str | None = None
) -> tuple[Classifier, Callable[..., Tree]]:
    """The classifier a config asks for, and the function of a key that gives initial variables.

    Args:
      config: as configs/common.py describes it.
      num_classes: K.
      platform: of JAX, such as 'tpu', where the model is to run; None for this machine's.
    """
    dtype = config.dtype
    if dtype == "auto":
        dtype = "float32" if (platform or jax.default_backend()) == "cpu" else "bfloat16"
    found = build(
        config.model,
        num_classes=num_classes,
        alpha=config.alpha,
        drop_path=config.drop_path,
        dropout=config.dropout,
        pool=config.pool,
        hidden=config.hidden,
        dtype=jnp.dtype(dtype),
    )
    return found, functools.partial(initial, found, config.image_size)


def model(config: ConfigDict, num_classes: int) -> tuple[Classifier, Tree, dict[str, Any] | None]:
    """The classifier, its variables with a new head, and which file the backbone came from."""
    found, init = classifier(config, num_classes)
    size = config.image_size
    # Training splits the seed's own key; this one must not depend on what it does with it.
    key = jax.random.fold_in(jax.random.key(config.seed), 1)

    if config.weights == "none":
        say(f"{config.model} at {size} px, from scratch")
        return found, jax.jit(init)(key), None
    if config.weights == "imagenet":
        path = download.find_weights(
            config.model,
            alpha=config.alpha,
            resolution=config.weights_resolution,
            top=False,
            weights_dir=config.weights_dir,
        )
    else:
        path = download.use_file(config.weights)
    tensors = h5_file.read_tensors(path)
    shapes = jax.eval_shape(init, key)
    loaded = keras_h5.convert(tensors, shapes, model=config.model, head=False, path=path)
    # Of the head alone: initial values of a backbone, only to be replaced, take long to compile.
    loaded["params"] |= {"head": jax.jit(lambda key: init(key)["params"]["head"])(key)}
    digest = keras_h5.tensors_sha256(tensors)
    say(f"{config.model} at {size} px, weights from {path} (tensors {digest[:12]})")
    return found, loaded, {"file": path.name, "tensors_sha256": digest}
