"""The reference notebook's procedure for EfficientNetV2-B0 in Keras: the time to beat.

    python -m experiments.notebook_in_keras

As `configs/effnet.py:notebook` describes it, on the same images: the frozen backbone is part of the
model and so works anew for every image of each epoch, since augmentation precedes it. The images
are read from the arrays that cifsel keeps, which is quicker than what the notebook did. The last
line printed is JSON: epochs, test accuracy and seconds by phase.
"""

import json
import os
import sys
import time

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# What cifsel sets for reading data would turn off what makes Keras quick.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras

from cifsel import build
from cifsel.config import arguments
from cifsel.models.weights import download
from configs import effnet


def keras_model(image_size: int, classes: int, weights: str) -> keras.Model:
    """The notebook's model: augmentation, resizing, frozen backbone, head."""
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
    """Trains with early stopping, scores the test images, and prints what came of it."""
    arguments.Parser("experiments.notebook_in_keras", __doc__).parse_args()
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
    found = {
        "epochs": len(history.epoch),
        "val_accuracy": max(history.history["val_accuracy"]),
        "test_accuracy": accuracy,
        "test_images": len(data.test),
        "training_seconds": trained - began,
        "test_seconds": time.perf_counter() - trained,
        "keras": keras.__version__,
    }
    print(json.dumps(found))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
