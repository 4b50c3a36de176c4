"""Ctrl-C ends a command within seconds and quietly, whatever it is doing.

Python handles a signal between two instructions of its main thread. There is none while XLA
compiles, which may take minutes. A process that leaves through Python's own end after such a
compilation often dies of a segmentation fault (JAX 0.10, 0.12). So a thread watches for Ctrl-C. If
the main thread does not end the process by itself, the thread tidies up and ends it with
`os._exit`, which runs nothing else.
"""

import collections
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from cifsel.errors import ExitCode
from cifsel.runtime import terminal

UNHEARD_SECONDS = 3.0  # until a main thread that has not heard of the signal is ended
UNWINDING_SECONDS = 5.0  # more, for one that has heard of it, to leave its blocks
_TIDYING_SECONDS = 1.5  # at most, for all that is to be tidied up
_ANNOUNCED_SECONDS = 1.0  # until the thread announces what the main thread has not


class _State:
    """The end of a command, as its threads see it.

    Attributes:
      watched: there is a thread that watches.
      ending: the main thread is ending because of Ctrl-C.
      worth_saving: a run trains, and has done something that it will save after its step.
      announced: the user knows that it will.
      message: said when the process ends because of a signal. '' for none.
      handled: how often the main thread has handled each signal.
      tidy: called, the last one first, if the process ends without leaving its blocks.
    """

    def __init__(self) -> None:
        self.watched = self.ending = self.worth_saving = self.announced = False
        self.message = ""
        self.handled: collections.Counter[int] = collections.Counter()
        self.tidy: list[Callable[[], object]] = []


state = _State()


def watch() -> None:
    """Watches for Ctrl-C and SIGTERM from now on. Call it in the main thread, once."""
    if state.watched or threading.current_thread() is not threading.main_thread():
        return
    state.watched = True
    # A shell makes its background processes ignore Ctrl-C.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupt)
    arrives, sends = socket.socketpair()
    sends.setblocking(False)
    # Python writes the number of a signal there at once, even while XLA compiles.
    signal.set_wakeup_fd(sends.fileno(), warn_on_full_buffer=False)
    # The thread holds both ends, which would otherwise be closed.
    threading.Thread(target=_watch, args=(arrives, sends), daemon=True).start()


def tidy_with(tidy: Callable[[], object]) -> None:
    """Has a function called if the process ends without leaving its blocks, until `forget`."""
    state.tidy.append(tidy)


def forget(tidy: Callable[[], object]) -> None:
    """Takes back `tidy_with`."""
    with contextlib.suppress(ValueError):
        state.tidy.remove(tidy)


def announce(number: int) -> None:
    """Says once that a run saves and ends."""
    if not state.announced:
        state.announced = True
        name = signal.Signals(number).name
        terminal.say(f"{name}: saving after this step; again to stop at once, without saving")


def leave(code: ExitCode) -> NoReturn:
    """Ends the process after a signal. Its blocks have been left already."""
    if not state.watched:  # This is no command, and its process may go on.
        sys.exit(code)
    _flush()
    os._exit(code)


def hear_again() -> None:
    """Lets the next Ctrl-C raise KeyboardInterrupt again, after the last one got lost."""
    state.ending = False


def _interrupt(number: int, frame: FrameType | None) -> None:
    """The handler of SIGINT: raises KeyboardInterrupt once. What ends already is left alone."""
    state.handled[number] += 1
    if state.ending:
        return
    state.ending = True
    if _imports(frame):
        # Compiled modules turn the exception into an ImportError, or crash.
        _end(ExitCode.INTERRUPTED)
    raise KeyboardInterrupt


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported in a frame or in one that called it."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _watch(arrives: socket.socket, _: socket.socket) -> None:
    """Reads the signals, and ends the process where it does not end by itself."""
    seen: collections.Counter[int] = collections.Counter()

    def is_heard(number: int) -> bool:
        heard = state.handled[number] > seen[number]
        seen[number] = state.handled[number]
        return heard

    waited_for: set[int] = set()
    while numbers := arrives.recv(1):
        number = numbers[0]
        if number not in (signal.SIGINT, signal.SIGTERM):
            continue
        if state.worth_saving and not state.ending and number not in waited_for:
            # However long the step takes, the run saves after it. A second signal ends it at once.
            waited_for.add(number)
            time.sleep(_ANNOUNCED_SECONDS)
            if not is_heard(number):
                announce(number)
            continue
        time.sleep(UNHEARD_SECONDS)
        if is_heard(number) and not state.ending:
            continue  # The run saves and ends.
        if state.ending:
            time.sleep(UNWINDING_SECONDS)
        _end(ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TRY_AGAIN)


def _end(code: ExitCode) -> NoReturn:
    """Tidies up, for a short time, and ends the process."""
    # A main thread that is stuck may hold what tidying waits for.
    tidying = threading.Thread(target=_tidy, daemon=True)
    tidying.start()
    tidying.join(_TIDYING_SECONDS)
    os._exit(code)


def _tidy() -> None:
    with contextlib.suppress(Exception, SystemExit):
        # Only a bar hides the cursor.
        if bars := sys.modules.get("cifsel.runtime.bars"):
            bars.console.show_cursor()
        if state.message:
            terminal.say(state.message)
    for tidy in [*reversed(state.tidy), _flush]:
        with contextlib.suppress(Exception, SystemExit):
            tidy()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
