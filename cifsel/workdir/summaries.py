"""TensorBoard summaries through CLU, written in the background.

Scalars named train/NAME and val/NAME go to the folders train and val, as NAME. Each folder is a run
to TensorBoard, which draws scalars of one name in one chart.

No other module imports clu.metric_writers, which imports TensorFlow. That takes seconds and
gigabytes. So it happens in the background, at the first write. Without TensorFlow, a run trains
without summaries.
"""

import concurrent.futures
import contextlib
import functools
import os
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

import jax
import numpy as np
from clu import asynclib
from clu import parameter_overview as clu_parameter_overview
from etils import epath

from cifsel.runtime import ending, remote, terminal
from cifsel.workdir.clu_writers import Copied, InParts

# TensorFlow reads these while it is imported. The log level alone leaves two lines about oneDNN on
# the terminal: TensorFlow 2.21 prints them before it reads the level. Event files need no oneDNN.
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}


@runtime_checkable
class Writer(Protocol):
    """The methods of a writer that training calls. `Summaries` has them. Tests bring their own."""

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes one number per name."""

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Writes one picture, (H, W, 3) uint8, per name."""

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Writes one Markdown text per name."""

    def write_histograms(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes the distribution of one array, of any shape, per name."""

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        """Writes the settings of the run. Nested names are joined with dots."""

    def flush(self) -> None:
        """Waits until everything written so far is in the file."""


class Summaries:
    """Writes to a CLU metric writer, or nowhere without one. A context manager that closes it.

    Args:
      clu_writer: A clu.metric_writers.MetricWriter, or None to write nothing.
    """

    def __init__(self, clu_writer: Any = None) -> None:
        self._clu = clu_writer

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes one number per name."""
        if self._clu is not None:
            self._clu.write_scalars(step, {name: float(value) for name, value in scalars.items()})

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Writes one picture, (H, W, 3) uint8, per name.

        Raises:
          ValueError: A picture has another shape or dtype. TensorBoard would show floats in
            [0, 255] as white and say nothing.
        """
        for name, image in images.items():
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
                raise ValueError(f"{name}: need (H, W, 3) uint8, got {image.shape} {image.dtype}")
        if self._clu is not None:
            self._clu.write_images(step, dict(images))

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Writes one Markdown text per name. `code_block` keeps tables of characters."""
        if self._clu is not None:
            self._clu.write_texts(step, dict(texts))

    def write_histograms(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes the distribution of one array, of any shape, per name."""
        if self._clu is not None:
            self._clu.write_histograms(step, {name: np.asarray(a) for name, a in arrays.items()})

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        """Writes the settings of the run. Nested names are joined with dots."""
        if self._clu is not None:
            self._clu.write_hparams(hparams)

    def flush(self) -> None:
        """Waits until everything written so far is in the file."""
        if self._clu is not None:
            self._clu.flush()

    def close(self) -> None:
        """Flushes and closes. Nothing is written afterwards. Closing twice is fine."""
        ending.forget(self.close)
        writer, self._clu = self._clu, None
        if writer is not None:
            writer.close()

    def __enter__(self) -> Self:
        ending.tidy_with(self.close)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_writer(workdir: str | os.PathLike[str]) -> Summaries:
    """Opens the TensorBoard summaries of a run.

    Only the first process of a multi-host run writes. Without TensorFlow, nothing is written and
    one warning says so.

    Args:
      workdir: Folder for the event file, local or gs://. Both are made at the first write.

    Returns:
      The writer. Use it in a `with`, or close it.
    """
    return Summaries(_InBackground(workdir) if jax.process_index() == 0 else None)


def remove(folder: epath.Path) -> None:
    """Deletes the summaries of a report that is made again. They would else be there twice."""
    for path in folder.glob("events.out.tfevents.*"):
        path.unlink()


class _InBackground:
    """A CLU writer in a thread of its own.

    It is made at the first write. So a run that cannot start, or has finished before, leaves no
    event file. TensorFlow takes seconds to import, while the run goes on.
    """

    def __init__(self, workdir: str | os.PathLike[str]) -> None:
        self._workdir, self._used = workdir, False
        # One worker keeps the order of the calls. A call's error is raised at the next call.
        self._pool = asynclib.Pool("summaries", max_workers=1)

    @functools.cached_property
    def _writer(self) -> Any:
        """The CLU writer, made and used in the thread. None without TensorFlow."""
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        try:
            import tensorflow as tf
            from clu import metric_writers
        except ImportError as error:
            terminal.warn(f"TensorBoard summaries are off: {error}. The run itself needs none.")
            return None
        # TensorFlow would take all memory of the GPU that JAX trains on. It refuses this setting if
        # it has been used before, when it is too late.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
        # CLU's default writer would also log every scalar and hyper-parameter to the terminal.
        make = metric_writers.SummaryWriter
        if remote.is_remote(self._workdir):
            return Copied(lambda folder: InParts(make, folder), epath.Path(self._workdir))
        return InParts(make, os.fspath(self._workdir))

    def __getattr__(self, name: str) -> Callable[..., object]:
        """A method of the CLU writer that returns before anything is written."""
        return functools.partial(self._later, name)

    def _later(self, name: str, *arguments: object) -> concurrent.futures.Future[None]:
        def call() -> None:
            if self._writer is not None:
                getattr(self._writer, name)(*arguments)

        self._used = True
        return self._pool(call)()

    def flush(self) -> None:
        """Waits until everything is written."""
        if self._used:
            # Ctrl-C in the pool's own join would leave a pool that refuses further work.
            self._later("flush").result()

    def close(self) -> None:
        """Writes what is left, and ends the thread."""
        if self._used:
            self._later("close")
        self._pool.close()


def parameter_overview(params: Mapping[str, Any]) -> str:
    """A table of the parameters: name, shape, dtype, size, and the total.

    Args:
      params: Nested dict of arrays, NumPy or JAX, on any devices. They are not fetched.
    """
    return clu_parameter_overview.get_parameter_overview(params, include_stats=False)


def code_block(text: str) -> str:
    """Markdown that shows `text` as it is, in fixed width. TensorBoard would reflow it."""
    return f"```\n{text}\n```"
