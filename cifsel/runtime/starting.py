"""Ctrl-C while a command imports its modules, before `ending.watch`, ends it quietly."""

import os
import signal
import sys

from cifsel.errors import ExitCode


def end_quietly() -> None:
    """Ends the process at Ctrl-C from now on, with its exit code and without a traceback.

    An exception would also pass through imports of compiled modules, some of which crash or never
    end.
    """
    # A shell makes its background processes ignore Ctrl-C.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(ExitCode.INTERRUPTED))


def is_command() -> bool:
    """Whether Python looks for the module of `python -m` just now."""
    return sys.argv[:1] == ["-m"]
