"""Runs of the training loop on a few images, and calls that disturb them."""

import dataclasses

import jax
import numpy as np
from etils import epath

from cifsel.training import loop, profiling
from cifsel.workdir.checkpoints import Checkpoints
from cifsel.workdir.summaries import Summaries

COUNT, BATCH, CLASSES, EPOCHS = 10, 4, 5, 3  # 3 steps an epoch, the last one with 2 images
PLAN = loop.Plan(
    epochs=EPOCHS,
    batch_size=BATCH,
    eval_batch_size=4,
    patience=0,
    steps_per_call=1,
    checkpoint_minutes=60.0,
    profile_steps=0,
    seed=7,
)
META = {"class_names": ["a", "b"]}


def make_split(count, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return images, rng.integers(0, CLASSES, count).astype(np.int32)


def train(folder, scan, predict, state, *, profile_steps=0, start=None, **plan):
    """Runs the loop in a folder, in which it may have run before."""
    with Checkpoints(epath.Path(folder)) as checkpoints:
        trainer = loop.Trainer(
            loop.Functions(scan, predict, lambda step: 0.1, lambda *_: "the output of head"),
            loop.Examples(*make_split(COUNT, 1)),
            loop.Examples(*make_split(6, 2)),
            dataclasses.replace(PLAN, **plan),
            loop.Output(
                checkpoints, META, Summaries(), profiling.Trace(epath.Path(folder), profile_steps)
            ),
        )
        return trainer.run(state, start)


def without_times(history):
    return [dataclasses.replace(epoch, images_per_second=0.0, waiting=0.0) for epoch in history]


def assert_same_run(found, expected):
    for a, b in zip(*map(jax.tree.leaves, (found[0], expected[0])), strict=True):
        np.testing.assert_array_equal(a, b)
    assert without_times(found[1].history) == without_times(expected[1].history)
    assert without_times([found[1].best]) == without_times([expected[1].best])


def disturbed(scan, at, what):
    """`scan` that does `what` in its call number `at`, beginning with 1."""
    calls = 0

    def call(*args):
        nonlocal calls
        calls += 1
        if calls == at:
            what()
        return scan(*args)

    return call
