"""What all commands share: one line for what is wrong, an exit status, and little noise."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from absl import flags
from absl import logging as absl_logging

from cifsel.errors import printable
from cifsel.runtime import cache, memory
from cifsel.runtime.signals import BAD_INPUT, INTERRUPTED, TRY_AGAIN, Interrupted
from cifsel.terminal import say

# Of threads that others have left behind, after the last word has been said.
_PATIENCE = 20.0  # seconds
_started = False


def guarded(run: Callable[[], object]) -> None:
    """Runs, and turns what can go wrong into one line and an exit status."""
    try:
        run()
    except (KeyboardInterrupt, Interrupted) as stopped:
        say("stopped; the same command goes on from here")
        terminated = isinstance(stopped, Interrupted) and stopped.number == signal.SIGTERM
        sys.exit(TRY_AGAIN if terminated else INTERRUPTED)
    except Exception as error:
        from cifsel.runtime import failures  # It imports JAX, for which --help need not wait.

        if (known := failures.explained(error)) is None:
            raise
        stop(*known)


def stop(message: str, status: int = BAD_INPUT) -> NoReturn:
    """Says what is wrong, of the input if nothing else is said, and ends the process."""
    sys.stderr.write(f"error: {printable(message)}\n")
    if _started:  # Else somebody may want to go on.
        end = threading.Timer(_PATIENCE, os._exit, (status,))
        end.daemon = True
        end.start()
    sys.exit(status)


def start() -> None:
    """What every command does first.

    Warnings are said like everything else, without time and thread.
    """
    global _started  # noqa: PLW0603 - that this process is a command is true of all of it
    _started = True
    sys.unraisablehook = _say_unraisable
    # One for the same reason; the other raises what it logs, also when tfds asks it for data.
    for name in ("asyncio", "gcsfs"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    memory.keep_freed()
    cache.keep_compiled()
    # As absl.app does, by which not every command is run.
    absl_logging.use_absl_handler()
    flags.FLAGS.mark_as_parsed()
    absl_logging.get_absl_handler().setFormatter(logging.Formatter("%(message)s"))
    absl_logging.get_absl_logger().addFilter(_is_news)
    absl_logging.set_verbosity(absl_logging.WARNING)


def _is_news(record: logging.LogRecord) -> bool:
    """Not orbax on how often it saves, which is up to us, nor CLU on errors that it also raises."""
    return "orbax" not in record.pathname and not record.pathname.endswith("clu/asynclib.py")


def _say_unraisable(what: Any) -> None:
    """`sys.unraisablehook` without what follows from something else, and without losing Ctrl-C.

    When TensorStore cannot write an array to a disk that is full or read-only, orbax stops to wait
    for the others, whose failures then reach nobody, and are shown as tracebacks, hundreds of them,
    around the line that says it.

    Ctrl-C may also come while Python clears something away, where no exception gets out, and would
    be lost.
    """
    if issubclass(what.exc_type, KeyboardInterrupt):
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    elif not (what.exc_type is RuntimeError and str(what.exc_value) == "Event loop is closed"):
        sys.__unraisablehook__(what)
