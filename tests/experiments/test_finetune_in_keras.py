"""The reference in Keras does what the recipe says."""

import numpy as np
import pytest

from cifsel import build
from configs import mobilenet
from experiments import finetune_in_keras

pytestmark = pytest.mark.slow
CLASSES = 50


def small():
    config = mobilenet.get_config("finetune")
    config.dataset, config.train_examples, config.test_examples = "drawn", 100, 50
    config.val_per_class, config.image_size, config.batch_size = 2, 32, 32
    config.epochs = 2
    return config


def network_of(config):
    """MobileNet with made-up kernels. With Keras's first values, features are next to zero."""
    network = finetune_in_keras.Network(config, CLASSES, None)
    rng = np.random.default_rng(0)
    for value in network.model.parts[0].trainable_variables:
        if value.name == "kernel":
            fan_in = np.prod(value.shape[:3] if value.shape[3] > 1 else value.shape[:2])
            value.assign(rng.normal(0, np.sqrt(2 / fan_in), value.shape))
    network.compile(steps_per_epoch=3)
    return network


@pytest.fixture(scope="module", autouse=True)
def quick():
    """One penalty and few iterations. TensorFlow compiles no functions."""
    # Not at the top of this file: all processes that collect tests would wait for TensorFlow.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "tensorflow")
        pytest.importorskip("keras", reason="the reference is computed by Keras")
        functions = pytest.importorskip("tensorflow").config
        patch.setattr(finetune_in_keras, "_PENALTIES", finetune_in_keras._PENALTIES[-1:])
        patch.setattr(finetune_in_keras, "_ITERATIONS", 200)
        functions.run_functions_eagerly(True)
        yield
        functions.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def run():
    """A run of MobileNet from random values."""
    return finetune_in_keras.train_and_score(small(), None)


def test_a_run_has_what_the_record_needs(run):
    low, high = run["test_interval"]
    assert low <= run["test_accuracy"] <= high
    assert run["val_accuracy"] >= max(epoch["val_accuracy"] for epoch in run["history"])
    assert len(run["history"]) == 2
    assert set(run["seconds"]) == {"probe", "training", "test"}


@pytest.mark.parametrize("frozen_bn", [True, False])
def test_batch_norm_is_fixed_or_trained_as_the_recipe_says(frozen_bn):
    config = small()
    config.frozen_bn = frozen_bn
    network = network_of(config)
    norm = next(
        layer
        for layer in network.model.parts[0].layers
        if type(layer).__name__ == "BatchNormalization"
    )
    before = norm.moving_mean.numpy().copy(), norm.gamma.numpy().copy()
    images = np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)).astype(np.float32)
    network.step(0, images, np.eye(CLASSES, dtype=np.float32)[:8])
    assert np.array_equal(norm.moving_mean.numpy(), before[0]) == frozen_bn
    assert not np.array_equal(norm.gamma.numpy(), before[1])


def test_the_head_starts_from_logistic_regression():
    config = small()
    data, network = build.dataset(config), network_of(config)
    accuracy = finetune_in_keras.solve_head(network, data.train, data.val)
    logits = network.outputs(network.model, data.val.images[:])
    assert accuracy == pytest.approx((logits.argmax(1) == data.val.labels).mean(), abs=0.01)
    fitted = network.outputs(network.model, data.train.images[:]).argmax(1) == data.train.labels
    assert fitted.mean() > 0.9  # 1,024 features tell 100 images apart.


def test_kernels_alone_decay():
    network = network_of(small())
    optimizer = network.model.optimizer
    optimizer.build(network.model.trainable_variables)
    decays = {v.path for v in network.model.trainable_variables if optimizer._use_weight_decay(v)}
    assert decays
    assert all(path.endswith("kernel") for path in decays)
