"""Says what XLA compiles when it takes long, so that a command is never silent for a minute."""

import contextlib
import re
import threading
from typing import Any

SILENT_SECONDS = 2.0  # of compiling, until something is said
# Events of jax.monitoring. The first comes when a program is handed to XLA, the second afterwards.
_BEGINS = "/jax/core/compile/jaxpr_to_mlir_module_duration"
_ENDS = "/jax/core/compile/backend_compile_duration"
# Jitted functions by name. The second value says whether they are a part of the model.
_PROGRAMS = {
    "scan": ("the training steps", True),
    "forward": ("the forward pass", True),
    "initial": ("the initial values", True),
    "step": ("the fine-tuning", True),
    "compute": ("the heat maps", True),
    "augmented": ("the augmentation", False),
    "solve": ("the linear probe", False),
    "_predict_all_folds": ("the cross-validation", False),
    "_shuffle": ("the order of images", False),
}


class _Notice:
    """The program that is being compiled, if any, and the line or spinner that says so.

    Attributes:
      model: name of the model that the programs are of. '' if it is not known.
    """

    def __init__(self) -> None:
        self.model = ""
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._shown = contextlib.ExitStack()

    def begins(self, program: str) -> None:
        """XLA begins to compile a program."""
        self.ends()
        with self._lock:
            self._timer = threading.Timer(SILENT_SECONDS, self._show, (program,))
            self._timer.daemon = True
            self._timer.start()

    def ends(self) -> None:
        """XLA has compiled it."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None
            self._shown.close()

    def _show(self, program: str) -> None:
        from cifsel.runtime import bars  # rich takes a tenth of a second.

        with self._lock:
            if self._timer is threading.current_thread():
                text = f"compiling {program}, which the next run need not do again"
                self._shown.enter_context(bars.working(text))


_notice = _Notice()


def announce() -> None:
    """Says from now on what is compiled for long. Call it once."""
    import jax

    jax.monitoring.register_event_duration_secs_listener(_listen)


def name_model(name: str) -> None:
    """Names the model that is compiled from now on."""
    _notice.model = name


def _listen(event: str, duration_secs: float, **about: Any) -> None:
    if event == _BEGINS:
        _notice.begins(program_name(str(about.get("fun_name", ""))))
    elif event == _ENDS:
        _notice.ends()


def program_name(function: str) -> str:
    """The words for a jitted function, whose name JAX gives as 'jit(scan)' or 'scan'."""
    name = re.sub(r"^p?jit\((.*)\)$|^jit_", r"\1", function)
    words, of_model = _PROGRAMS.get(name, ("a program", False))
    return f"{words} of {_notice.model}" if of_model and _notice.model else words
