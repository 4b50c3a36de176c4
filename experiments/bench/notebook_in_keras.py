"""Trains EfficientNetV2-B0 in Keras by the procedure of the reference notebook.

    python -m experiments.bench.notebook_in_keras

The notebook is the Keras notebook that this project started from. `configs/effnet.py:notebook` is
the same recipe. The frozen backbone is part of the model and follows the augmentation, so it
computes features of every image in every epoch. Images come from arrays that cifsel has cached,
which is faster than reading tfds. The last line of the output is JSON: epochs, accuracies and
seconds by phase.
"""

import json
import os
import time
from typing import TYPE_CHECKING

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# cifsel turns oneDNN off where it reads data. Keras on TensorFlow is slower without it.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from cifsel import build
from cifsel.config import Parser
from cifsel.models.weights import download
from cifsel.runtime import command, terminal
from configs import effnet

if TYPE_CHECKING:
    import keras


def keras_model(image_size: int, classes: int, weights: str) -> "keras.Model":
    """The model of the notebook: augmentation, resizing, frozen backbone, head."""
    import keras  # Here, so that --help does not need it.

    shape = (image_size, image_size, 3)
    backbone = keras.applications.EfficientNetV2B0(
        include_top=False, weights=weights, input_shape=shape
    )
    backbone.trainable = False
    images = keras.Input((32, 32, 3))
    x = keras.layers.RandomFlip("horizontal")(images)
    x = keras.layers.RandomRotation(0.1)(x)
    x = keras.layers.RandomZoom(0.2)(x)
    x = keras.layers.RandomContrast(0.1)(x)
    x = keras.layers.Resizing(image_size, image_size)(x)
    x = backbone(x, training=False)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(128, activation="relu")(x)
    x = keras.layers.Dropout(0.25)(x)
    model = keras.Model(images, keras.layers.Dense(classes, activation="softmax")(x))
    model.compile(
        keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def main() -> None:
    """Parses the command line and trains."""
    Parser("experiments.bench.notebook_in_keras", __doc__).parse_args()
    command.start()
    command.guarded(train)


def train() -> None:
    """Trains with early stopping, scores the test images, and prints the results."""
    import keras

    config = effnet.get_config("notebook")
    keras.utils.set_random_seed(config.seed)
    data = build.dataset(config)
    weights = download.find_weights(
        config.model, alpha=1.0, resolution=224, top=False, weights_dir=config.weights_dir
    )
    model = keras_model(config.image_size, len(data.class_names), str(weights))
    began = time.perf_counter()
    history = model.fit(
        data.train.images,
        data.train.labels,
        batch_size=config.batch_size,
        epochs=config.epochs,
        validation_data=(data.val.images, data.val.labels),
        callbacks=[
            keras.callbacks.EarlyStopping(
                "val_accuracy", patience=config.patience, restore_best_weights=True
            )
        ],
        verbose=2,
    )
    trained = time.perf_counter()
    _, accuracy = model.evaluate(data.test.images, data.test.labels, verbose=0)
    results = {
        "epochs": len(history.epoch),
        "val_accuracy": max(history.history["val_accuracy"]),
        "test_accuracy": accuracy,
        "test_images": len(data.test),
        "training_seconds": trained - began,
        "test_seconds": time.perf_counter() - trained,
        "keras": keras.__version__,
    }
    terminal.answer(json.dumps(results))


if __name__ == "__main__":
    main()
