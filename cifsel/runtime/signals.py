"""Ctrl-C and SIGTERM while a run trains: it saves after the step, and ends."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

from cifsel.runtime import ending


class Interrupted(Exception):  # noqa: N818 - not an error
    """A signal asked a run to stop, and everything has been saved.

    Attributes:
      number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], int]]:
    """Keeps Ctrl-C and SIGTERM from ending the process within the block.

    Clouds send SIGTERM before they take a machine away. A second signal of the same kind acts at
    once.

    Yields:
      A function that gives the number of the signal that has come, or 0. The training loop calls it
      between steps.
    """
    requested = 0

    def request(number: int, _: object) -> None:
        nonlocal requested
        requested = number
        ending.state.handled[number] += 1
        signal.signal(number, previous[number])
        ending.announce(number)

    def stop() -> int:
        ending.state.worth_saving = True  # Called after a step.
        return requested

    previous: dict[int, Any] = {}
    try:
        for asked in (signal.SIGINT, signal.SIGTERM):
            # A shell makes its background processes ignore Ctrl-C.
            if signal.getsignal(asked) is not signal.SIG_IGN:
                previous[asked] = signal.signal(asked, request)
    except ValueError:  # Only the main thread may set handlers.
        yield lambda: 0
        return
    try:
        ending.state.announced = False
        yield stop
    finally:
        ending.state.worth_saving = False
        for number, handler in previous.items():
            signal.signal(number, handler)
