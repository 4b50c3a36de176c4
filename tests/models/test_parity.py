"""Our models compute what keras.applications' compute, from the same weights.

The reference is Keras 3 on TensorFlow. Where the published weights are at hand they are used;
otherwise, and for the models without published weights here, Keras's model gets random ones whose
batch statistics are real: every tensor then matters to the output.
"""

import functools
import os
from collections.abc import Callable, Iterator
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
MOBILENET_FILE = "mobilenet_1_0_224_tf.h5"
PHOTO_SIZE = 223  # Odd, and near the 224 that MobileNet was trained with.
# A model of Keras, ours, and its variables, converted from Keras's.
Peers = tuple[Any, classifier.Classifier, Any]


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
    batch = images(reference.input_shape[1] or 64, 16, seed=9)
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


def without_dropout(reference: Any, keras: Any) -> None:
    for layer in reference.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0


def tensors_of(reference: Any) -> dict[str, np.ndarray]:
    """The weights of a Keras model as `h5_file.read_tensors` reads them from its file."""
    return {
        f"{layer.name}/{weight.name}": np.asarray(weight)
        for layer in reference.layers
        for weight in layer.weights
    }


def ours(
    model: str, tensors: dict[str, np.ndarray], *, head: bool, **kwargs: Any
) -> tuple[classifier.Classifier, Any]:
    built = classifier.build(model, num_classes=1000, **kwargs)
    shapes = jax.eval_shape(built.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    return built, keras_h5.convert(tensors, shapes, model=model, head=head, path="keras")


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


def published_or_random(name: str, reference: Any, keras: Any) -> dict[str, np.ndarray]:
    """The tensors of the published file if it is here, else random ones. Keras's model has them."""
    if (WEIGHTS / name).is_file():
        reference.load_weights(WEIGHTS / name)
        return h5_file.read_tensors(WEIGHTS / name)
    return randomised(reference, keras)


def randomised(reference: Any, keras: Any) -> dict[str, np.ndarray]:
    randomise(reference, keras)
    return tensors_of(reference)


@pytest.fixture(scope="module")
def mobilenet(keras: Any) -> Peers:
    """With its head."""
    shape = (PHOTO_SIZE, PHOTO_SIZE, 3)
    reference = keras_model(
        keras, "mobilenet", include_top=True, classifier_activation=None, input_shape=shape
    )
    tensors = published_or_random(MOBILENET_FILE, reference, keras)
    return reference, *ours("mobilenet", tensors, head=True)


@pytest.fixture(scope="module")
def narrow_mobilenet(keras: Any) -> Peers:
    reference = keras_model(keras, "mobilenet", alpha=0.25, input_shape=(None, None, 3))
    return reference, *ours("mobilenet", randomised(reference, keras), head=False, alpha=0.25)


@pytest.fixture(scope="module")
def efficientnet_b0(keras: Any) -> Peers:
    reference = keras_model(keras, "efficientnetv2-b0")
    tensors = published_or_random("efficientnetv2-b0_notop.h5", reference, keras)
    return reference, *ours("efficientnetv2-b0", tensors, head=False)


@pytest.fixture(scope="module")
def short_s(keras: Any, shorten: Callable[..., None]) -> Iterator[Peers]:
    """With two blocks in each stage; test_shapes.py counts the parameters of all of them."""
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch, "s", repeats=2)
        reference = keras_model(keras, "efficientnetv2-s")
        yield reference, *ours("efficientnetv2-s", randomised(reference, keras), head=False)


def test_mobilenet_logits(mobilenet: Peers) -> None:
    reference, built, variables = mobilenet
    batch = images(PHOTO_SIZE)
    expected = reference(prepared(reference, batch), training=False)
    actual = _compiled(built, "__call__")(variables, batch)
    assert_close(actual, expected, "mobilenet")


# Padding differs between odd and even sizes. Training is compared at an even one too.
@pytest.mark.parametrize(
    ("peers", "size"), [("narrow_mobilenet", 65), ("efficientnet_b0", 97), ("short_s", 64)]
)
def test_features(request: pytest.FixtureRequest, peers: str, size: int) -> None:
    reference, built, variables = request.getfixturevalue(peers)
    batch = images(size)
    expected = reference(prepared(reference, batch), training=False)
    actual = _compiled(built, "features")(variables, batch)
    assert_close(actual, expected, f"{peers} {size}")


@pytest.mark.parametrize("peers", ["narrow_mobilenet", "short_s"])
def test_training_updates_batch_statistics_as_keras_does(
    keras: Any, request: pytest.FixtureRequest, peers: str
) -> None:
    reference, built, template = request.getfixturevalue(peers)
    weights = reference.get_weights()
    without_dropout(reference, keras)

    def converted(tensors: dict[str, np.ndarray]) -> Any:
        return keras_h5.convert(
            tensors, template, model=built.name_of_model, head=False, path="keras"
        )

    variables = converted(randomised(reference, keras))
    batch = images(96, count=4, seed=1)
    step = jax.jit(
        functools.partial(built.apply, train=True, method="features", mutable=["batch_stats"])
    )
    actual, updated = step(variables, batch)
    expected = reference(prepared(reference, batch), training=True)
    after = converted(tensors_of(reference))
    reference.set_weights(weights)  # Other tests use it too.
    assert_close(actual, expected, f"{peers} training")
    leaves = [jax.tree.leaves(x["batch_stats"]) for x in (variables, updated, after)]
    differences, shares = [], []
    for before, mine, theirs in zip(*leaves, strict=True):
        differences.append(np.abs(mine - theirs).max())
        # A momentum of .99 hides a wrong batch statistic unless it is held against the move.
        shares.append(differences[-1] / np.abs(theirs - before).max())
    print(
        f"{peers} statistics: max |difference| {max(differences):.1e}, {max(shares):.1e} of the"
        " layer's move"
    )
    assert max(differences) < TOLERANCE
    assert max(shares) < 0.01


def test_names_shapes_and_counts_with_classifier(keras: Any, short_s: Peers) -> None:
    """Other variants have the same layers; test_shapes.py counts their parameters."""
    model = "efficientnetv2-s"
    reference = keras_model(keras, model, include_top=True, pooling=None)
    # Raises unless every name is known, used once, and of the expected shape.
    _, variables = ours(model, tensors_of(reference), head=True)
    assert sum(x.size for x in jax.tree.leaves(variables)) == reference.count_params()


def test_addresses_and_hashes_are_those_of_keras(
    keras: Any, shorten: Callable[..., None], monkeypatch: pytest.MonkeyPatch
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
    shorten(monkeypatch, "b0", repeats=1)  # Keras builds a network before it asks for weights.
    for model, alpha, size, top in (
        ("mobilenet", 1.0, 224, True),
        ("mobilenet", 0.75, 192, False),
        ("efficientnetv2-b0", 1.0, 224, True),
        ("efficientnetv2-b0", 1.0, 224, False),
    ):
        build = getattr(keras.applications, KERAS_NAMES[model])
        width = {"alpha": alpha} if model == "mobilenet" else {}
        with pytest.raises(Asked) as asked:
            build(weights="imagenet", include_top=top, input_shape=(size, size, 3), **width)
        file = catalogue.published(model, alpha=alpha, resolution=size, top=top)
        assert asked.value.args[0] == (file.name, file.url, file.md5)


def photo(name: str) -> np.ndarray:
    """A photo that scikit-image ships: its centre square of `PHOTO_SIZE` pixels, uint8."""
    from skimage import data

    image = getattr(data, name)()
    side = min(image.shape[:2])
    top, left = ((n - side) // 2 for n in image.shape[:2])
    square = jnp.asarray(image[top : top + side, left : left + side], jnp.float32)
    scaled = jax.image.resize(square, (PHOTO_SIZE, PHOTO_SIZE, 3), "cubic", antialias=True)
    return np.asarray(scaled).clip(0, 255).round().astype(np.uint8)


@pytest.mark.real
def test_photos_are_recognised(mobilenet: Peers) -> None:
    if not (WEIGHTS / MOBILENET_FILE).is_file():
        pytest.skip(f"{MOBILENET_FILE} is not in ../shared/data/weights")
    _, built, variables = mobilenet
    batch = np.stack([photo("chelsea"), photo("coffee")])
    best = np.argsort(-np.asarray(_compiled(built, "__call__")(variables, batch)))[:, :3]
    print(f"the classes of the cat and of the coffee: {best.tolist()}")
    assert set(best[0]) & set(CATS)
    assert ESPRESSO in best[1]
