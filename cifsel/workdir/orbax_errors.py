"""Errors of orbax in a few words, and the files that a failed save leaves behind."""

import os
import re
import warnings

from cifsel.errors import one_line


def reason(error: Exception) -> str:
    """Returns the fault that orbax or the operating system names, else the whole message."""
    code = re.search(r"os_error_code='(\d+)|OS error (\d+)", str(error))
    if code:
        return os.strerror(int(code[1] or code[2]))
    shapes = re.search(r"Requested shape: (\(.*?\)) .*stored shape: (\(.*?\))\.", str(error))
    if shapes:
        return f"an array has shape {shapes[2]}, not {shapes[1]}"
    return getattr(error, "strerror", None) or one_line(error)


def forget_other_arrays() -> None:
    """Leaves out what Python says of each array that orbax did not come to, after its error."""
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
