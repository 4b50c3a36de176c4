"""The same work for every peer: forward passes, training steps and augmentation.

Each peer is a function of (model, size, batch, dtype of activations) that returns a callable per
kind of work. A call does the work once from arrays in memory and returns when the result is ready.

Forward passes and training steps take float32 images (B, size, size, 3) in [0, 255] and include the
model's preprocessing. The model has 50 classes and a linear head on averaged features. Steps
minimise cross-entropy with AdamW on all parameters, with batch norm fixed or trained.

The pipeline turns uint8 images (B, 32, 32, 3) into such images. It mirrors them at random, shifts
them by up to 4 pixels with reflected edges, and enlarges them (bicubic).
"""

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np

KINDS = ("forward", "train, fixed BN", "train, trained BN", "pipeline")
MODELS = ("mobilenet", "efficientnetv2-b0")
CLASSES = 50
RATE = 1e-4
STORED = 32  # pixels of an image before it is enlarged
SHIFT = 4  # pixels, before it is enlarged
# Rate of stochastic depth. Keras builds EfficientNetV2 with it and has no option to turn it off.
DROP_PATH = 0.2

Work = dict[str, Callable[[], Any]]


def inputs(size: int, batch: int, classes: int = CLASSES) -> tuple[np.ndarray, np.ndarray]:
    """Images (B, size, size, 3) float32 in [0, 255], and labels (B,) int32."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, size, size, 3)).astype(np.float32)
    return images, rng.integers(0, classes, batch).astype(np.int32)


def stored(batch: int) -> np.ndarray:
    """Input of the pipeline, (B, 32, 32, 3) uint8."""
    return inputs(STORED, batch)[0].astype(np.uint8)


def some_values(path: tuple[Any, ...], leaf: Any) -> np.ndarray:
    """Values of a variable, by its name. Compiling proper initialisers takes longer than a step."""
    name = path[-1].key
    if name == "kernel":
        scale = np.prod(leaf.shape[:-1]) ** -0.5
        return np.random.default_rng(0).normal(0, scale, leaf.shape).astype(np.float32)
    return np.full(leaf.shape, float(name in ("scale", "var")), np.float32)


def ours(model: str, size: int, batch: int, dtype: str, classes: int = CLASSES) -> Work:
    """The models and training steps of cifsel."""
    import jax
    import jax.numpy as jnp
    import optax

    from cifsel.data import augment
    from cifsel.evaluation import features
    from cifsel.models.classifier import build
    from cifsel.runtime import memory
    from cifsel.training import optim, steps
    from cifsel.training.objective import Objective
    from cifsel.training.state import init_state

    memory.keep_freed()
    images, labels = inputs(size, batch, classes)
    drop_path = DROP_PATH * (model != "mobilenet")
    built = build(model, num_classes=classes, drop_path=drop_path, dtype=jnp.dtype(dtype))
    shapes = jax.eval_shape(built.init, jax.random.key(0), jnp.zeros((1, size, size, 3)))
    variables = {
        part: jax.tree_util.tree_map_with_path(some_values, shapes[part])
        for part in ("params", "batch_stats")
    }
    variables = jax.device_put(variables)  # As in a run.
    forward = features.logits(built, features.View(size, "bilinear", mirror=False))
    data = {"inputs": jnp.asarray(images), "labels": jnp.asarray(labels)}
    rates = jax.tree.map(lambda _: 1.0, variables["params"])
    tx = optim.make(
        "adamw", optax.constant_schedule(RATE), rates=rates, weight_decay=1e-4, clip_norm=0.0
    )

    def training(frozen_bn: bool) -> Callable[[], Any]:
        objective = Objective(size, "bilinear", augment.Policy(), frozen_bn=frozen_bn)
        scan = steps.make_scan(built, tx, rates, objective)
        state = init_state(variables, tx, 0.0)
        batches = {name: array[None] for name, array in data.items()}
        batches["mask"] = jnp.ones((1, batch))

        def once() -> None:
            nonlocal state
            state = scan(state, batches, jax.random.key(0))
            jax.block_until_ready(state.step)

        return once

    policy = augment.Policy(flip=True, shift=SHIFT)
    augmented = jax.jit(
        lambda x: augment.augment_images(jax.random.key(0), x, policy, size, "bicubic")
    )
    small = jnp.asarray(stored(batch))

    return {
        "forward": lambda: np.asarray(forward(variables, data["inputs"])),
        "train, fixed BN": training(True),
        "train, trained BN": training(False),
        "pipeline": lambda: jax.block_until_ready(augmented(small)),
    }


def written_in_keras(layers: list[Any], compute: Callable[[Any, Any], Any]) -> Any:
    """A model of Keras whose layers get the training mode that is written here.

    A graph of layers gives all of them the mode of the whole model (Keras 3).

    Args:
      layers: those that have variables.
      compute: a function of the inputs and the training mode.
    """
    import keras

    class Written(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.parts = layers

        def call(self, x: Any, training: bool | None = None) -> Any:
            return compute(x, training)

    return Written()


def keras(model: str, size: int, batch: int, dtype: str, *, backend: str) -> Work:
    """keras.applications on one of its backends, with the training loop of Keras."""
    os.environ["KERAS_BACKEND"] = backend
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    if dtype == "bfloat16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    images, labels = inputs(size, batch)
    options = {
        "include_top": False,
        "weights": None,
        "pooling": "avg",
        "input_shape": (size, size, 3),
    }

    def made(*, frozen_bn: bool) -> Any:
        if model == "mobilenet":
            backbone = keras.applications.MobileNet(**options)
        else:
            backbone = keras.applications.EfficientNetV2B0(**options)
        head = keras.layers.Dense(CLASSES)

        def logits(raw: Any, training: bool | None) -> Any:
            scaled = raw / 127.5 - 1.0 if model == "mobilenet" else raw
            # training=False: batch norm uses running statistics. Scale and bias are trained.
            return head(backbone(scaled, training=False if frozen_bn else training))

        net = written_in_keras([backbone, head], logits)
        net.compile(
            keras.optimizers.AdamW(RATE, weight_decay=1e-4),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        return net

    shift = SHIFT / STORED
    flip = keras.layers.RandomFlip("horizontal")
    move = keras.layers.RandomTranslation(shift, shift, "reflect")
    enlarge = keras.layers.Resizing(size, size, "bicubic")
    pipeline = written_in_keras(
        [flip, move, enlarge],
        lambda raw, _: enlarge(move(flip(raw, training=True), training=True)),
    )
    small = stored(batch)

    fixed, trained = made(frozen_bn=True), made(frozen_bn=False)
    return {
        "forward": lambda: fixed.predict_on_batch(images),
        "train, fixed BN": lambda: fixed.train_on_batch(images, labels),
        "train, trained BN": lambda: trained.train_on_batch(images, labels),
        "pipeline": lambda: pipeline.predict_on_batch(small),
    }


def torch(model: str, size: int, batch: int, dtype: str, *, compiled: bool) -> Work:
    """PyTorch with timm, in channels-last format, as it is or by torch.compile."""
    import timm
    import torch

    names = {"mobilenet": "mobilenetv1_100", "efficientnetv2-b0": "tf_efficientnetv2_b0"}
    drop = {} if model == "mobilenet" else {"drop_path_rate": DROP_PATH}
    net = timm.create_model(names[model], num_classes=CLASSES, **drop)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = net.to(device, memory_format=torch.channels_last)
    run = torch.compile(net) if compiled else net
    images, labels = inputs(size, batch)
    scaled = torch.from_numpy(images / 127.5 - 1.0).permute(0, 3, 1, 2)
    x = scaled.contiguous(memory_format=torch.channels_last).to(device)
    y = torch.from_numpy(labels).long().to(device)
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=1e-4)

    def precision() -> Any:
        return torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16")

    def forward() -> Any:
        net.eval()
        with torch.inference_mode(), precision():
            return run(x).float().cpu().numpy()

    def train(fixed: bool) -> float:
        net.train()
        if fixed:
            for module in net.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eval()
        optimizer.zero_grad(set_to_none=True)
        with precision():
            loss = torch.nn.functional.cross_entropy(run(x), y)
        loss.backward()
        optimizer.step()
        return float(loss)

    small = torch.from_numpy(stored(batch)).permute(0, 3, 1, 2).to(device)

    def pipeline() -> Any:
        # Affine maps from output to input positions, both in [-1, 1].
        maps = torch.zeros(batch, 2, 3)
        maps[:, 0, 0] = 1.0 - 2.0 * torch.randint(0, 2, (batch,))
        maps[:, 1, 1] = 1.0
        maps[:, :, 2] = torch.randint(-SHIFT, SHIFT + 1, (batch, 2)) * (2.0 / STORED)
        maps = maps.to(device)
        grid = torch.nn.functional.affine_grid(maps, [batch, 3, size, size], align_corners=False)
        return torch.nn.functional.grid_sample(
            small.float(), grid, "bicubic", padding_mode="reflection", align_corners=False
        )

    return {
        "forward": forward,
        "train, fixed BN": lambda: train(True),
        "train, trained BN": lambda: train(False),
        "pipeline": pipeline,
    }


def engine(model: str, size: int, batch: int, dtype: str, *, name: str) -> Work:
    """The forward pass of cifsel's model as an ONNX graph, in an inference engine."""
    import jax
    import jax.numpy as jnp

    from cifsel.models.classifier import build
    from cifsel.prediction import engines

    if dtype != "float32":
        raise SystemExit(f"{name} computes in float32 here: leave it out of --peers")
    built = build(model, num_classes=CLASSES)
    image = jnp.zeros((1, size, size, 3))
    shapes = jax.eval_shape(built.init, jax.random.key(0), image)
    variables = jax.tree_util.tree_map_with_path(some_values, shapes)
    graph = engines.to_onnx(lambda images: built.apply(variables, images, train=False), size)
    run = engines.opened(name, graph)
    images, _ = inputs(size, batch)
    return {"forward": lambda: run(images)}


PEERS: dict[str, Callable[[str, int, int, str], Work]] = {
    "cifsel": ours,
    "keras-tensorflow": functools.partial(keras, backend="tensorflow"),
    "keras-jax": functools.partial(keras, backend="jax"),
    "torch-timm": functools.partial(torch, compiled=False),
    "torch-compile": functools.partial(torch, compiled=True),
    "onnxruntime": functools.partial(engine, name="onnxruntime"),
    "openvino": functools.partial(engine, name="openvino"),
}
# The kinds of work of a peer that does not do all.
ONLY = {"onnxruntime": ("forward",), "openvino": ("forward",)}
# Package that each peer needs. A missing one is reported before anything is measured.
NEEDS = {
    "cifsel": "jax",
    "keras-tensorflow": "keras",
    "keras-jax": "keras",
    "torch-timm": "timm",
    "torch-compile": "timm",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
}
