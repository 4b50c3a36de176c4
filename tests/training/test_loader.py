"""Batches come in order, read ahead or not, and the time waited for them is measured."""

import time

import numpy as np
import pytest

from cifsel.training.loader import Loader


@pytest.mark.parametrize("read_ahead", [False, True])
def test_batches_come_in_order(read_ahead):
    loader = Loader(lambda first: {"labels": np.array([first])}, read_ahead=read_ahead)
    assert [int(batch["labels"][0]) for batch in loader.batches(range(0, 30, 3))] == [
        *range(0, 30, 3)
    ]


def test_reading_ahead_does_not_wait():
    def load(first):
        time.sleep(0.05)
        return {}

    waited = {}
    for read_ahead in (False, True):
        loader = Loader(load, read_ahead=read_ahead)
        batches = loader.batches(range(10))
        next(batches)
        loader.waited = 0.0  # Nothing is ahead of the first.
        for _ in batches:
            time.sleep(0.08)
        waited[read_ahead] = loader.waited
    assert waited[False] > 0.4
    assert waited[True] < 0.1


def test_an_error_of_reading_reaches_the_loop():
    def load(first):
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(Loader(load, read_ahead=True).batches(range(3)))
