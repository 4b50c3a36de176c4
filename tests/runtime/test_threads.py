"""Values of threads come in order, and only some of them ahead of time."""

import threading
import time

import pytest

from cifsel.runtime import threads


def test_in_order_and_not_too_far_ahead():
    begun = []

    def slow_at_first(number):
        begun.append(number)
        time.sleep(0.02 if number == 0 else 0)
        return number

    values = threads.in_order(slow_at_first, range(100), ahead=5)
    assert next(values) == 0
    time.sleep(0.02)
    assert max(begun) <= 5
    assert list(values) == list(range(1, 100))
    assert list(threads.in_order(abs, [], ahead=5)) == []


def test_what_is_raised_in_a_thread_is_raised_in_its_place():
    def fail(number):
        if number == 2:
            raise MemoryError("9 GB")
        return number

    values = threads.in_order(fail, range(4), ahead=4)
    assert [next(values), next(values)] == [0, 1]
    with pytest.raises(MemoryError, match="9 GB"):
        next(values)


def test_closing_waits_for_nothing():
    stop, begun = threading.Event(), []

    def work(number):
        begun.append(number)
        if number:
            stop.wait(5)

    values = threads.in_order(work, range(1000), ahead=500)
    next(values)
    began = time.monotonic()
    values.close()
    assert time.monotonic() - began < 2
    stop.set()
    time.sleep(0.05)
    assert len(begun) <= 2 * threads.cores() + 2
