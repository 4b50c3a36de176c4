"""Our models compute what keras.applications' compute, from the same .h5 file.

The reference is Keras 3 on TensorFlow. Where the published weights are at hand they are used;
otherwise, and for the models without published weights here, Keras's model gets random ones whose
batch statistics are real: every tensor then matters to the output.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from paths import DATA

from cifsel.models import classifier
from cifsel.models.weights import catalogue, h5_file, keras_h5

WEIGHTS = DATA / "weights"
TOLERANCE = 1e-4
# Keras's variables are older than this numpy.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.slow,
]
KERAS_NAMES = {
    "mobilenet": "MobileNet",
    **{
        f"efficientnetv2-{variant}": f"EfficientNetV2{variant.upper()}"
        for variant in ("b0", "b1", "b2", "b3", "s", "m", "l")
    },
}
# ImageNet's tabby, tiger cat, Persian, Siamese and Egyptian cat; espresso.
CATS, ESPRESSO = range(281, 286), 967


@pytest.fixture(scope="module")
def keras() -> Any:
    # Noise, and a GPU that TensorFlow would take from JAX.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    assert keras.backend.backend() == "tensorflow"
    return keras


def images(size: int, count: int = 2, seed: int = 0) -> np.ndarray:
    """Photo-like noise: smooth blobs with grain, (count, size, size, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = jax.image.resize(
        jnp.asarray(rng.uniform(0, 255, (count, 6, 6, 3)), jnp.float32),
        (count, size, size, 3),
        "bicubic",
    )
    grain = rng.normal(0, 20, (count, size, size, 3))
    return np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)


def keras_model(keras: Any, model: str, **kwargs: Any) -> Any:
    build = getattr(keras.applications, KERAS_NAMES[model])
    return build(weights=None, **{"include_top": False, "pooling": "avg"} | kwargs)


def randomise(reference: Any, keras: Any, seed: int = 0) -> None:
    """Gives a Keras model random weights and the batch statistics that belong to them.

    Residual branches are small and most activations positive: in a deep net that is random without
    such care, float32 rounding itself grows beyond any tolerance.
    """
    rng = np.random.default_rng(seed)
    for weight in reference.weights:
        shape, linear = tuple(weight.shape), "project_bn" in weight.path
        if weight.name == "gamma":
            value = (0.3 if linear else 1.0) * rng.uniform(0.5, 1.5, shape)
        elif weight.name in ("beta", "bias"):
            value = rng.normal(0.0 if linear else 1.0, 0.5, shape)
        elif "kernel" in weight.name:
            inputs = 9 if shape[-1] == 1 else np.prod(shape[:-1])
            value = rng.normal(0, np.sqrt(2 / inputs), shape)
        else:
            continue
        weight.assign(value.astype(np.float32))
    norms = [x for x in reference.layers if isinstance(x, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    batch = images(reference.input_shape[1] or 96, 16, seed=9)
    reference(prepared(reference, batch), training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
        norm.moving_mean.assign(mean + rng.normal(0, 0.1, mean.shape))
        # No channel that hardly varies in these images may be magnified in others.
        norm.moving_variance.assign(variance * rng.uniform(0.7, 1.4, mean.shape) + 0.1)


def prepared(reference: Any, batch: np.ndarray) -> np.ndarray:
    """Images as the Keras model wants them: MobileNet's preprocessing is not inside it."""
    batch = batch.astype(np.float32)
    return batch / 127.5 - 1 if reference.name.startswith("mobilenet") else batch


def without_dropout(reference: Any, keras: Any) -> Any:
    for layer in reference.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    return reference


def ours(model: str, path: Path, *, head: bool, **kwargs: Any) -> tuple[classifier.Classifier, Any]:
    built = classifier.build(model, num_classes=1000, **kwargs)
    shapes = jax.eval_shape(built.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    tensors = h5_file.read_tensors(path)
    return built, keras_h5.convert(tensors, shapes, model=model, head=head, path=path)


@functools.cache
def _compiled(built: classifier.Classifier, method: str) -> Callable[..., jax.Array]:
    return jax.jit(functools.partial(built.apply, method=method))


def assert_close(actual: Any, expected: Any, what: str) -> None:
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    # A difference means nothing beside values that are all but zero.
    assert 0.1 < expected.std() < 100
    difference = np.abs(actual - expected).max()
    print(
        f"{what}: max |difference| {difference:.1e}, std {expected.std():.2f},"
        f" max {np.abs(expected).max():.1f}"
    )
    assert difference < TOLERANCE, what


def published_or_random(name: str, reference: Any, keras: Any, folder: Path) -> Path:
    """The published file if it is here, else random weights in the same layout."""
    if (WEIGHTS / name).is_file():
        reference.load_weights(WEIGHTS / name)
        return WEIGHTS / name
    return randomised_file(reference, keras, folder)


def randomised_file(reference: Any, keras: Any, folder: Path) -> Path:
    randomise(reference, keras)
    path = folder / "model.h5"
    reference.save(path)
    return path


@pytest.mark.parametrize("size", [96, 111, 128, 224])
def test_mobilenet_logits(keras: Any, tmp_path: Path, size: int) -> None:
    reference = keras_model(
        keras, "mobilenet", include_top=True, classifier_activation=None,
        input_shape=(size, size, 3),
    )  # fmt: skip
    path = published_or_random("mobilenet_1_0_224_tf.h5", reference, keras, tmp_path)
    built, variables = ours("mobilenet", path, head=True)
    batch = images(size)
    expected = reference(prepared(reference, batch), training=False)
    actual = _compiled(built, "__call__")(variables, batch)
    assert_close(actual, expected, f"mobilenet {size}")


@pytest.fixture(scope="module")
def b0(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    reference = keras_model(keras, "efficientnetv2-b0")
    folder = tmp_path_factory.mktemp("b0")
    return reference, published_or_random("efficientnetv2-b0_notop.h5", reference, keras, folder)


@pytest.mark.parametrize("size", [96, 97, 128, 224])
def test_efficientnet_b0_features(b0: tuple[Any, Path], size: int) -> None:
    reference, path = b0
    built, variables = ours("efficientnetv2-b0", path, head=False)
    batch = images(size)
    actual = _compiled(built, "features")(variables, batch)
    assert_close(actual, reference(batch, training=False), f"efficientnetv2-b0 {size}")


@pytest.mark.parametrize(("variant", "size"), [("b1", 96), ("b2", 111), ("b3", 128), ("s", 96)])
def test_efficientnet_features(keras: Any, tmp_path: Path, variant: str, size: int) -> None:
    model = f"efficientnetv2-{variant}"
    reference = keras_model(keras, model)
    path = randomised_file(reference, keras, tmp_path)
    built, variables = ours(model, path, head=False)
    batch = images(size)
    actual = _compiled(built, "features")(variables, batch)
    assert_close(actual, reference(batch, training=False), f"{model} {size}")


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.75])
def test_narrow_mobilenet_features(keras: Any, tmp_path: Path, alpha: float) -> None:
    reference = keras_model(keras, "mobilenet", alpha=alpha, input_shape=(None, None, 3))
    path = randomised_file(reference, keras, tmp_path)
    built, variables = ours("mobilenet", path, head=False, alpha=alpha)
    batch = images(65)
    expected = reference(prepared(reference, batch), training=False)
    actual = _compiled(built, "features")(variables, batch)
    assert_close(actual, expected, f"mobilenet {alpha}")


@pytest.mark.parametrize("model", ["mobilenet", "efficientnetv2-b0"])
def test_training_updates_batch_statistics_as_keras_does(
    keras: Any, tmp_path: Path, model: str
) -> None:
    reference = without_dropout(keras_model(keras, model, input_shape=(96, 96, 3)), keras)
    path = randomised_file(reference, keras, tmp_path)
    built, variables = ours(model, path, head=False)
    batch = images(96, count=4, seed=1)
    step = jax.jit(
        functools.partial(built.apply, train=True, method="features", mutable=["batch_stats"])
    )
    actual, updated = step(variables, batch)
    expected = reference(prepared(reference, batch), training=True)
    assert_close(actual, expected, f"{model} training")

    reference.save(tmp_path / "after.h5")
    _, after = ours(model, tmp_path / "after.h5", head=False)
    leaves = [jax.tree.leaves(x["batch_stats"]) for x in (variables, updated, after)]
    differences, shares = [], []
    for before, mine, theirs in zip(*leaves, strict=True):
        differences.append(np.abs(mine - theirs).max())
        # A momentum of .99 hides a wrong batch statistic unless it is held against the move.
        shares.append(differences[-1] / np.abs(theirs - before).max())
    print(
        f"{model} statistics: max |difference| {max(differences):.1e}, {max(shares):.1e} of the"
        " layer's move"
    )
    assert max(differences) < TOLERANCE
    assert max(shares) < 0.01


@pytest.mark.parametrize("model", ["efficientnetv2-b0", "efficientnetv2-m", "efficientnetv2-l"])
def test_names_shapes_and_counts_with_classifier(keras: Any, model: str) -> None:
    reference = keras_model(keras, model, include_top=True, pooling=None)
    tensors = {
        f"{layer.name}/{weight.name}": np.broadcast_to(np.float32(0), weight.shape)
        for layer in reference.layers
        for weight in layer.weights
    }
    built = classifier.build(model, num_classes=1000)
    template = jax.eval_shape(built.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    # Raises unless every name is known, used once, and of the expected shape.
    variables = keras_h5.convert(tensors, template, model=model, head=True, path="keras")
    assert sum(x.size for x in jax.tree.leaves(variables)) == reference.count_params()


def test_addresses_and_hashes_are_those_of_keras(
    keras: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keras.src.applications import efficientnet_v2
    from keras.src.utils import file_utils

    hashes = {k.removeprefix("-"): v for k, v in efficientnet_v2.WEIGHTS_HASHES.items()}
    assert hashes == catalogue.EFFICIENTNET_MD5

    class Asked(Exception):  # noqa: N818 - stops the code under test, no error
        pass

    def get_file(name: str, origin: str, *, file_hash: str | None = None, **_: Any) -> None:
        raise Asked((name, origin, file_hash))

    monkeypatch.setattr(file_utils, "get_file", get_file)
    for model, alpha, size, top in (
        ("mobilenet", 1.0, 224, True),
        ("mobilenet", 0.75, 192, False),
        ("mobilenet", 0.5, 160, True),
        ("mobilenet", 0.25, 128, False),
        ("efficientnetv2-b1", 1.0, 240, True),
        ("efficientnetv2-b1", 1.0, 240, False),
    ):
        build = getattr(keras.applications, KERAS_NAMES[model])
        width = {"alpha": alpha} if model == "mobilenet" else {}
        with pytest.raises(Asked) as asked:
            build(weights="imagenet", include_top=top, input_shape=(size, size, 3), **width)
        file = catalogue.published(model, alpha=alpha, resolution=size, top=top)
        assert asked.value.args[0] == (file.name, file.url, file.md5)


def photo(name: str, size: int = 224) -> np.ndarray:
    """A photo that scikit-image ships, its centre square scaled to (1, size, size, 3) uint8."""
    from skimage import data

    image = getattr(data, name)()
    side = min(image.shape[:2])
    top, left = ((n - side) // 2 for n in image.shape[:2])
    square = jnp.asarray(image[top : top + side, left : left + side], jnp.float32)
    scaled = jax.image.resize(square, (size, size, 3), "cubic", antialias=True)
    return np.asarray(scaled).clip(0, 255).round().astype(np.uint8)[None]


@pytest.mark.real
@pytest.mark.parametrize(("name", "labels"), [("chelsea", CATS), ("coffee", [ESPRESSO])])
def test_photos_are_recognised(name: str, labels: list[int]) -> None:
    path = WEIGHTS / "mobilenet_1_0_224_tf.h5"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in ../shared/data/weights")
    built, variables = ours("mobilenet", path, head=True)
    probabilities = jax.nn.softmax(_compiled(built, "__call__")(variables, photo(name))[0])
    best = np.argsort(-np.asarray(probabilities))[:3]
    print(f"{name}: {[(int(i), round(float(probabilities[i]), 3)) for i in best]}")
    assert set(best) & set(labels)
