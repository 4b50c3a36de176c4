"""The start and the end of every command: quiet libraries, one line for a failure, an exit code.

A command calls `start`, or `start_terminal` where it may end without JAX, and then `guarded` with
its work. The exit codes are those of `cifsel.errors.ExitCode`.
"""

import _thread
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from cifsel.errors import ExitCode
from cifsel.runtime import cache, compiling, ending, failures, libtpu, memory, terminal
from cifsel.runtime.signals import Interrupted

# Seconds to wait at the end for threads that other libraries have left behind.
_PATIENCE = 20.0
_started = False


def guarded(run: Callable[[], object], advice: failures.Advice = failures.TRAINING) -> None:
    """Runs a command, and turns what can go wrong into one line and an exit code.

    Args:
      run: the work of the command.
      advice: the words for what its user can do.

    Raises:
      SystemExit: the command failed, or was stopped.
      Exception: the program has a defect. Python then exits with `ExitCode.DEFECT`.
    """
    ending.state.message = advice.stopped
    try:
        run()
        terminal.flush()
    except (KeyboardInterrupt, Interrupted) as stopped:
        if advice.stopped:
            terminal.say(advice.stopped)
        terminated = isinstance(stopped, Interrupted) and stopped.number == signal.SIGTERM
        ending.leave(ExitCode.TRY_AGAIN if terminated else ExitCode.INTERRUPTED)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and terminal.is_unread():
            from cifsel.runtime import console

            console.console.on_broken_pipe()
        failure = failures.explained(error, advice)
        if failure is None:
            raise
        stop(failure.message, failure.code)


def stop(message: str, code: ExitCode = ExitCode.BAD_INPUT) -> NoReturn:
    """Says in one line on standard error what is wrong, and ends the process."""
    terminal.error(message)
    if _started:  # Else this is no command, and its process may go on.
        end = threading.Timer(_PATIENCE, os._exit, (code,))
        end.daemon = True
        end.start()
    sys.exit(code)


def refuse(module: str) -> NoReturn:
    """Ends `python -m` of a module that is no command, and names those that are."""
    start_terminal()
    stop(
        f"{module} is no command: give python -m cifsel.main --config=configs/effnet.py, or another"
        " of python -m cifsel --help"
    )


def start() -> None:
    """Starts a command that computes: `start_terminal`, and JAX's settings, before JAX starts."""
    start_terminal()
    libtpu.quiet()
    memory.keep_freed()
    # Python would look for garbage among half a million objects of libraries again and again.
    gc.set_threshold(20_000, 20, 20)
    cache.keep_compiled()
    compiling.announce()


def start_terminal() -> None:
    """Starts a command without importing JAX.

    Warnings of libraries are printed like those of cifsel, without time and thread.
    """
    # Not at the top, as --help does without it.
    from absl import flags
    from absl import logging as absl_logging

    global _started  # noqa: PLW0603 - that this process is a command is true of all of it
    _started = True
    terminal.set_up()
    ending.watch()
    sys.unraisablehook = _say_unraisable
    # asyncio for the reason that `_say_unraisable` gives. gcsfs raises what it logs, also when tfds
    # asks it for data.
    for name in ("asyncio", "gcsfs"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # As absl.app does, by which not every command is run.
    absl_logging.use_absl_handler()
    flags.FLAGS.mark_as_parsed()
    absl_logging.get_absl_handler().setFormatter(logging.Formatter("%(message)s"))
    absl_logging.get_absl_logger().addFilter(_is_news)
    absl_logging.set_verbosity(absl_logging.WARNING)


def _is_news(record: logging.LogRecord) -> bool:
    """False for orbax's advice to save less often, and for errors that CLU also raises."""
    return "orbax" not in record.pathname and not record.pathname.endswith("clu/asynclib.py")


def _say_unraisable(what: Any) -> None:
    """`sys.unraisablehook` that drops repeated errors and does not lose Ctrl-C.

    When TensorStore cannot write an array, orbax stops to wait for the other arrays. Their failures
    then reach nobody, and Python shows hundreds of them as tracebacks around the one line that
    says why.

    Ctrl-C may also come while Python runs a `__del__`, which no exception leaves. It is sent again.
    """
    if issubclass(what.exc_type, KeyboardInterrupt):
        ending.hear_again()
        threading.Timer(0.05, _press_ctrl_c).start()
    elif not (what.exc_type is RuntimeError and str(what.exc_value) == "Event loop is closed"):
        sys.__unraisablehook__(what)


def _press_ctrl_c() -> None:
    if sys.platform == "win32":
        _thread.interrupt_main()  # os.kill would end the process.
    else:
        os.kill(os.getpid(), signal.SIGINT)  # interrupt_main would not end a sleep.
