"""Ctrl-C and SIGTERM, as questions between steps."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

from cifsel.terminal import say

# Exit statuses: 1 is a defect, with a traceback.
BAD_INPUT, INTERRUPTED = 2, 130
# "Try again": told to stop, or left alone by another process; what was saved stays.
TRY_AGAIN = 75


class Interrupted(Exception):  # noqa: N818 - not an error
    """A signal, whose number it carries, asked to stop, and everything has been saved."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], int]]:
    """Turns Ctrl-C and SIGTERM into a question that the loop asks between steps.

    The answer is the signal's number, or 0. A second signal of the kind acts at once. SIGTERM is
    what comes before a machine is taken away.
    """
    requested = 0

    def request(number: int, _: object) -> None:
        nonlocal requested
        requested = number
        signal.signal(number, previous[number])
        name = signal.Signals(number).name
        say(f"{name}: saving after this step; again to stop at once, without saving")

    previous: dict[int, Any] = {}
    try:
        for asked in (signal.SIGINT, signal.SIGTERM):
            # What a shell has put into the background is not to hear of Ctrl-C.
            if signal.getsignal(asked) is not signal.SIG_IGN:
                previous[asked] = signal.signal(asked, request)
    except ValueError:  # Only the main thread may; elsewhere nobody presses Ctrl-C.
        yield lambda: 0
        return
    try:
        yield lambda: requested
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
