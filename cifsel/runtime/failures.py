"""What machines do to programs: full disks, lost networks, broken devices, too little memory."""

import errno
import os
import re
import traceback

from cifsel import workdir
from cifsel.errors import UserError, causes, one_line
from cifsel.runtime import remote
from cifsel.runtime.signals import BAD_INPUT, TRY_AGAIN

_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
_AGAIN = "give the same command again, which goes on from the last checkpoint"


def explained(error: Exception) -> tuple[str, int] | None:
    """One line that says what to do, and the exit status; None for what must be a defect."""
    lost = remote.lost(error)
    if isinstance(error, UserError):
        return str(error), TRY_AGAIN if lost else BAD_INPUT
    if lost:
        return f"gs:// cannot be reached any more ({lost}): {_AGAIN}", TRY_AGAIN
    if "Gloo" in str(error):  # How processes without GPUs or TPUs reach each other.
        return f"the processes lost each other ({one_line(error)}): {_AGAIN}", TRY_AGAIN
    if line := _what_to_do(error):
        return line, BAD_INPUT
    return None


def _what_to_do(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
        # Reading has messages of its own, where it knows what was to be read.
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}: {workdir.MAKE_ROOM}, and {_AGAIN}"
    if (cause := _of_summaries(error)) is not None:
        reason = re.sub(r"{{.*?}}|\[Op:.*", "", one_line(cause)).strip()
        return f"summaries could not be written ({reason}): {workdir.MAKE_ROOM}, and {_AGAIN}"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        reason = one_line(error)
        return (
            f"out of memory ({reason}): give a smaller config.batch_size or config.image_size, or"
            " set config.accum_steps to pass a batch in parts"
        )
    if traceback.extract_tb(error.__traceback__)[-1].filename.endswith("xla_bridge.py"):
        wanted = os.environ.get("JAX_PLATFORMS", "")
        return (
            f"JAX cannot use its devices ({one_line(error)}; JAX_PLATFORMS is {wanted!r}): repair"
            " their driver, or set JAX_PLATFORMS=cpu to do without"
        )
    return ""


def _of_summaries(error: BaseException) -> BaseException | None:
    """What TensorFlow, which does nothing else once data are read, could not do, if it was that."""
    return next((e for e in causes(error) if type(e).__module__.startswith("tensorflow.")), None)
