"""A model that is a number: its training counts steps, and nothing else."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
from loop_runs import CLASSES, COUNT, make_split

from cifsel.training.state import init_state


def counting_state():
    """A state whose only parameter counts the steps."""
    return init_state({"params": {"w": jnp.zeros(1)}, "batch_stats": {}}, optax.sgd(0.1), 0.0)


class CountingScan:
    """Does nothing but count, and remembers which images it was given."""

    def __init__(self, loss=1.0):
        self.seen, self.loss = [], loss

    def __call__(self, state, batches, key):
        mask = np.asarray(batches["mask"])
        all_images, all_labels = make_split(COUNT, 1)
        position = {image.tobytes(): i for i, image in enumerate(all_images)}
        given = [position[image.tobytes()] for image in np.asarray(batches["inputs"])[mask == 1]]
        np.testing.assert_array_equal(np.asarray(batches["labels"])[mask == 1], all_labels[given])
        self.seen += given
        images = jnp.sum(mask)
        sums = dataclasses.replace(
            state.sums,
            loss=state.sums.loss + self.loss * images,
            images=state.sums.images + images,
            steps=state.sums.steps + len(mask),
        )
        params = {"w": state.params["w"] + len(mask)}
        return dataclasses.replace(state, step=state.step + len(mask), params=params, sums=sums)


def predict_with_accuracies(accuracies):
    """Logits that are right for so many of the six validation images after each epoch."""
    labels = make_split(6, 2)[1]

    def predict(variables, images):
        epoch = round(float(variables["params"]["w"][0]) / 3)
        right = {image.tobytes(): i for i, image in enumerate(make_split(6, 2)[0])}
        rows = [right[np.asarray(image).tobytes()] for image in images]
        correct = np.array([row < accuracies[epoch - 1] for row in rows])
        answer = np.where(correct, labels[rows], (labels[rows] + 1) % CLASSES)
        return jnp.eye(CLASSES)[answer]

    return predict
