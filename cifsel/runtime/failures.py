"""Failures of the machine in words: full disks, lost networks, broken devices, too little memory.

The exceptions of other libraries that mean such a failure are told from those that mean a defect.
"""

import dataclasses
import errno
import os
import re
import traceback

from cifsel.errors import MAKE_ROOM, ExitCode, UserError, causes, one_line

_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a command ends.

    Attributes:
      message: one line that says what to do.
      code: of the process.
    """

    message: str
    code: ExitCode


@dataclasses.dataclass(frozen=True)
class Advice:
    """How a command is told to go on.

    Attributes:
      again: after a failure that may be over soon.
      memory: when there is too little memory.
      stopped: the message after Ctrl-C or SIGTERM. '' for none.
    """

    again: str
    memory: str
    stopped: str


TRAINING = Advice(
    again="give the same command again, which goes on from the last checkpoint",
    memory="give a smaller config.batch_size or config.image_size, or set config.accum_steps to"
    " pass a batch in parts",
    stopped="stopped; the same command goes on from here",
)


def explained(error: Exception, advice: Advice = TRAINING) -> Failure | None:
    """The failure that an exception means, or None for a defect of the program."""
    from cifsel.runtime import remote  # epath takes a fifth of a second.

    lost = remote.lost(error)
    if isinstance(error, UserError):
        return Failure(str(error), ExitCode.TRY_AGAIN if lost else ExitCode.BAD_INPUT)
    if lost:
        message = f"gs:// cannot be reached any more ({lost}): {advice.again}"
        return Failure(message, ExitCode.TRY_AGAIN)
    if "Gloo" in str(error):  # How processes without GPUs or TPUs reach each other.
        message = f"the processes lost each other ({one_line(error)}): {advice.again}"
        return Failure(message, ExitCode.TRY_AGAIN)
    message = _of_machine(error, advice)
    return Failure(message, ExitCode.BAD_INPUT) if message else None


def _of_machine(error: Exception, advice: Advice) -> str:
    """Says what the machine lacks, and what to do. '' if it lacks nothing."""
    if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
        # Reading has messages of its own, where it knows what was to be read.
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}: {MAKE_ROOM}, and {advice.again}"
    if (cause := _of_tensorflow(error)) is not None:
        reason = re.sub(r"{{.*?}}|\[Op:.*", "", one_line(cause)).strip()
        return f"summaries could not be written ({reason}): {MAKE_ROOM}, and {advice.again}"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return f"out of memory ({one_line(error)}): {advice.memory}"
    if traceback.extract_tb(error.__traceback__)[-1].filename.endswith("xla_bridge.py"):
        wanted = os.environ.get("JAX_PLATFORMS", "")
        return (
            f"JAX cannot use its devices ({one_line(error)}; JAX_PLATFORMS is {wanted!r}): repair"
            " their driver, or set JAX_PLATFORMS=cpu to do without"
        )
    return ""


def _of_tensorflow(error: BaseException) -> BaseException | None:
    """TensorFlow's own exception among the causes. Once data are read, it only writes summaries."""
    return next((e for e in causes(error) if type(e).__module__.startswith("tensorflow.")), None)
