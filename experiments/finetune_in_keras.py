"""Fine-tunes a network in Keras by the recipe of its config: a reference for accuracy and minutes.

    python -m experiments.finetune_in_keras --model=mobilenet \
      --json=experiments/results/finetune_in_keras.json

Keras computes the network, its gradients and the steps of AdamW. Images, their division, their
augmentation and the schedule of the learning rate are those of configs/effnet.py or
configs/mobilenet.py. The head starts from a logistic regression of scikit-learn on the features of
the network, whose penalty is chosen on the validation images. The epoch of the best validation
accuracy is scored on the test images, once. The record has one run for each network.
"""

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from ml_collections import ConfigDict

from cifsel import build
from cifsel.config import Parser, local_path
from cifsel.data import augment
from cifsel.data.splits import Split
from cifsel.evaluation.scoring import wilson
from cifsel.models.weights import download
from cifsel.runtime import command
from cifsel.runtime.terminal import say
from cifsel.training import optim
from cifsel.workdir import provenance
from configs import effnet, mobilenet
from experiments.bench.work import written_in_keras

if TYPE_CHECKING:
    import keras

CONFIGS = {"efficientnetv2-b0": effnet, "mobilenet": mobilenet}
# Penalties and most iterations of logistic regression, as a probe of cifsel has them.
_PENALTIES, _ITERATIONS = (1e-3, 1e-2, 1e-1), 500


class Network:
    """A backbone of keras.applications with a linear head.

    Args:
      config: of task 1.
      classes: number of classes.
      weights: path of the published weights, or None for random values.
    """

    def __init__(self, config: ConfigDict, classes: int, weights: str | None) -> None:
        import keras

        make = {
            "efficientnetv2-b0": keras.applications.EfficientNetV2B0,
            "mobilenet": keras.applications.MobileNet,
        }[config.model]
        self._config = config
        self._views = jax.jit(build.view(config).of)
        objective = build.objective(config)
        size, policy, resize = objective.image_size, objective.policy, objective.resize
        # (key, uint8 (B, h, w, 3)) -> training images
        self.augmented = jax.jit(
            lambda key, images: augment.augment_images(key, images, policy, size, resize)
        )
        backbone = make(
            include_top=False, weights=weights, pooling="avg", input_shape=(None, None, 3)
        )
        self.head = keras.layers.Dense(classes, name="head")
        scaled = config.model == "mobilenet"  # EfficientNetV2 scales its images itself.

        def features(images: Any, training: bool | None) -> Any:
            images = images / 127.5 - 1.0 if scaled else images
            return backbone(images, training=False if config.frozen_bn else training)

        self.features = written_in_keras([backbone], features)
        self.model = written_in_keras(
            [backbone, self.head], lambda images, training: self.head(features(images, training))
        )
        self.model(np.zeros((1, size, size, 3), np.float32))  # Makes the variables.

    def compile(self, steps_per_epoch: int) -> None:
        """Sets the loss, and AdamW with the learning rates of the recipe."""
        import keras

        config = self._config
        steps = build.schedule_steps(config, steps_per_epoch)
        self._rate = jax.jit(optim.schedule(config.schedule, config.learning_rate, **steps))
        adamw = keras.optimizers.AdamW(
            config.learning_rate,
            weight_decay=config.weight_decay,
            epsilon=1e-8,
            global_clipnorm=config.clip_norm or None,
        )
        adamw.exclude_from_weight_decay(
            [v for v in self.model.trainable_variables if not v.name.endswith("kernel")]
        )
        loss = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=config.label_smoothing
        )
        self.model.compile(adamw, loss)

    def step(self, number: int, images: np.ndarray, targets: np.ndarray) -> float:
        """Takes one step, and returns its loss."""
        self.model.optimizer.learning_rate.assign(float(self._rate(number)))
        return float(self.model.train_on_batch(images, targets))

    def outputs(self, model: "keras.Model", images: np.ndarray) -> np.ndarray:
        """Outputs of the model or of its features, averaged over mirror images as the config says.

        Args:
          model: `model` or `features`.
          images: uint8 (N, h, w, 3).
        """
        parts, size = [], self._config.eval_batch_size
        for start in range(0, len(images), size):
            views = map(np.asarray, self._views(images[start : start + size]))
            parts.append(np.mean([model.predict_on_batch(view) for view in views], axis=0))
        return np.concatenate(parts)


def solve_head(network: Network, train: Split, val: Split) -> float:
    """Starts the head from logistic regression. Returns its validation accuracy."""
    from sklearn.linear_model import LogisticRegression

    x, held_out = (network.outputs(network.features, split.images[:]) for split in (train, val))
    mean, spread = x.mean(0), x.std() + 1e-6
    best: tuple[float, Any] | None = None
    for penalty in _PENALTIES:
        fitted = LogisticRegression(C=1 / (penalty * len(x)), max_iter=_ITERATIONS)
        fitted.fit((x - mean) / spread, train.labels)
        accuracy = float(fitted.score((held_out - mean) / spread, val.labels))
        if best is None or accuracy > best[0]:
            best = accuracy, fitted
    assert best is not None
    kernel = best[1].coef_.T / spread
    network.head.set_weights([kernel, best[1].intercept_ - mean @ kernel])
    return best[0]


def train_and_score(config: ConfigDict, weights: str | None) -> dict[str, Any]:
    """Trains by the recipe of a config, and scores the best epoch.

    Args:
      config: of task 1. Its fields of fine-tuning that the recipes leave as they are, such as
        `drop_path`, are not looked at.
      weights: path of the published weights, or None for random values.
    """
    import keras

    keras.utils.set_random_seed(config.seed)
    data = build.dataset(config)
    classes, began = len(data.class_names), time.perf_counter()
    network = Network(config, classes, weights)
    seconds, history = {}, []
    best = solve_head(network, data.train, data.val)
    kept = network.model.get_weights()
    seconds["probe"] = time.perf_counter() - began
    say(f"probe: validation accuracy {best:.1%}")
    network.compile(len(data.train) // config.batch_size)
    for epoch in range(config.epochs):
        began = time.perf_counter()
        loss = _epoch(network, config, data.train, epoch, classes)
        rate = len(data.train) / (time.perf_counter() - began)
        accuracy = _accuracy(network, data.val)
        history.append({"loss": loss, "val_accuracy": accuracy, "images_per_second": rate})
        say(f"epoch {epoch + 1}: loss {loss:.3f}, validation {accuracy:.1%}, {rate:.0f} images/s")
        if accuracy > best:
            best, kept = accuracy, network.model.get_weights()
        seconds["training"] = seconds.get("training", 0.0) + time.perf_counter() - began
    network.model.set_weights(kept)
    began = time.perf_counter()
    accuracy = _accuracy(network, data.test)
    seconds["test"] = time.perf_counter() - began
    return {
        "model": config.model,
        "config": config.to_dict(),
        "val_accuracy": best,
        "test_accuracy": accuracy,
        "test_interval": wilson(accuracy * len(data.test), len(data.test)),
        "test_images": len(data.test),
        "history": history,
        "seconds": seconds,
        "keras": keras.__version__,
    }


def _epoch(network: Network, config: ConfigDict, train: Split, epoch: int, classes: int) -> float:
    """Takes the steps of an epoch, of whole batches alone. Returns the mean loss."""
    order = np.random.default_rng([config.seed, epoch]).permutation(len(train))
    losses, targets = [], np.eye(classes, dtype=np.float32)
    count = len(order) // config.batch_size
    for number, rows in enumerate(np.split(order[: count * config.batch_size], count)):
        step = epoch * count + number
        key = jax.random.fold_in(jax.random.key(config.seed), step)
        images = np.asarray(network.augmented(key, train.images[rows]))
        losses.append(network.step(step, images, targets[train.labels[rows]]))
    return float(np.mean(losses))


def _accuracy(network: Network, split: Split) -> float:
    logits = network.outputs(network.model, split.images[:])
    return float((logits.argmax(1) == split.labels).mean())


def run(model: str, target: Path | None, fields: dict[str, Any]) -> None:
    """Trains one network, and adds its run to the record."""
    config = CONFIGS[model].get_config("finetune")
    config.update(fields)
    weights = download.find_weights(
        model, alpha=1.0, resolution=224, top=False, weights_dir=config.weights_dir
    )
    result = train_and_score(config, str(weights))
    low, high = result["test_interval"]
    say(f"test accuracy {result['test_accuracy']:.1%} ({low:.1%} to {high:.1%})")
    if target:
        record = json.loads(target.read_text()) if target.exists() else {"runs": []}
        others = [other for other in record["runs"] if other["model"] != model]
        environment = provenance.environment().to_json()
        record["runs"] = [*others, result | {"environment": environment}]
        target.write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    """Parses the command line and trains."""
    parser = Parser("experiments.finetune_in_keras", __doc__)
    add = parser.add_argument
    add("--model", required=True, choices=CONFIGS, help="the network")
    add("--train_examples", type=int, default=0, metavar="N", help="for a trial, default: all")
    add("--json", type=local_path, metavar="FILE", help="the record, default: none")
    flags = parser.parse_args()
    # Here, and not on import: other code of the process would compute otherwise.
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # cifsel turns oneDNN off where it reads data. Keras on TensorFlow is slower without it.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    command.start()
    fields = {"train_examples": flags.train_examples}
    command.guarded(lambda: run(flags.model, flags.json, fields))


if __name__ == "__main__":
    main()
