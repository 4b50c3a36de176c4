"""TensorBoard summaries through CLU, written in the background.

The only importer of clu.metric_writers. That package imports TensorFlow, which takes seconds and
gigabytes: it happens in the background when something is first written, not when this module is
imported, and a machine without TensorFlow trains all the same, without summaries.
"""

import concurrent.futures
import contextlib
import functools
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

import jax
import numpy as np
from clu import asynclib
from clu import parameter_overview as clu_parameter_overview
from etils import epath

from cifsel import terminal
from cifsel.errors import one_line
from cifsel.runtime import remote

# What TensorFlow reads once, while it loads. The level alone leaves two lines about oneDNN on the
# terminal (2.21 prints them before it looks at the level), and event files need no oneDNN.
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}

# How often summaries are copied to gs:// while there are new ones.
COPY_SECONDS = 60


@runtime_checkable
class Writer(Protocol):
    """What training needs of a writer; `Summaries` is one, a test may bring its own."""

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes one number per name."""

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Writes one picture, (H, W, 3) uint8, per name."""

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Writes one Markdown text per name."""

    def write_histograms(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes the distribution of one array, of any shape, per name."""

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        """Writes the settings of the run; nested names are joined with dots."""

    def flush(self) -> None:
        """Waits until everything written so far is in the file."""


class Summaries:
    """Writes to a CLU metric writer, or nowhere if there is none. A context manager that closes.

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
        """Writes one Markdown text per name; see `code_block` for tables drawn in characters."""
        if self._clu is not None:
            self._clu.write_texts(step, dict(texts))

    def write_histograms(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes the distribution of one array, of any shape, per name."""
        if self._clu is not None:
            self._clu.write_histograms(step, {name: np.asarray(a) for name, a in arrays.items()})

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        """Writes the settings of the run; nested names are joined with dots."""
        if self._clu is not None:
            self._clu.write_hparams(hparams)

    def flush(self) -> None:
        """Waits until everything written so far is in the file."""
        if self._clu is not None:
            self._clu.flush()

    def close(self) -> None:
        """Flushes and closes; afterwards nothing more is written. Closing twice is fine."""
        writer, self._clu = self._clu, None
        if writer is not None:
            writer.close()

    def __enter__(self) -> Self:
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
      workdir: Folder for the event file; both are made when something is first written; gs:// paths
        work.

    Returns:
      The writer; use it in a `with`, or close it.
    """
    return Summaries(_InBackground(workdir) if jax.process_index() == 0 else None)


class _InBackground:
    """A CLU writer that is made, and used, in a thread of its own.

    It is made when it has something to write, so that a run that finds out that it cannot start, or
    has finished before, leaves no event file. The seconds that TensorFlow takes to import then pass
    while the run begins.
    """

    def __init__(self, workdir: str | os.PathLike[str]) -> None:
        self._workdir, self._used = workdir, False
        # One worker, so in the order of the calls. It raises an error of one call at the next.
        self._pool = asynclib.Pool("summaries", max_workers=1)

    @functools.cached_property
    def _writer(self) -> Any:
        """Of the thread; None without TensorFlow."""
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        try:
            import tensorflow as tf
            from clu import metric_writers
        except ImportError as error:
            terminal.warn(f"TensorBoard summaries are off: {error}. The run itself needs none.")
            return None
        # It would take all memory of the GPU that jax trains on. Once it has started it no longer
        # takes this setting, and the harm, if any, is done.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
        # CLU's default writer would also log every scalar and hyper-parameter to the terminal.
        make = metric_writers.SummaryWriter
        if remote.is_remote(self._workdir):
            return _Copied(make, epath.Path(self._workdir))
        return make(os.fspath(self._workdir))

    def __getattr__(self, name: str) -> Callable[..., object]:
        """The method of that name of the CLU writer, which returns before anything is written."""
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
            # Not by the pool's join, which Ctrl-C would leave with a pool that takes nothing more.
            self._later("flush").result()

    def close(self) -> None:
        """Writes what is left, and ends the thread."""
        if self._used:
            self._later("close")
        self._pool.close()


class _Copied:
    """A CLU writer of files on this machine that are copied to gs:// now and then, as a whole.

    TensorFlow, left to write there by means of its own, would also send the whole file each time,
    and knows no server but Google's.
    """

    def __init__(self, make: Callable[[str], Any], target: epath.Path) -> None:
        self._target, self._warned = target, False
        self._folder = tempfile.TemporaryDirectory(prefix="cifsel-")
        self._clu = make(self._folder.name)
        self._copied = time.monotonic()

    def __getattr__(self, name: str) -> Callable[..., None]:
        """The method of that name of the CLU writer, after which it may be time to copy."""

        def call(*arguments: object) -> None:
            getattr(self._clu, name)(*arguments)
            if name in ("flush", "close"):
                self._copy()
            elif time.monotonic() - self._copied > COPY_SECONDS:
                self._clu.flush()
                self._copy()
            if name == "close":
                self._folder.cleanup()

        return call

    def _copy(self) -> None:
        try:
            for file in Path(self._folder.name).iterdir():
                (self._target / file.name).write_bytes(file.read_bytes())
        except Exception as error:  # of gcsfs; the run itself needs no summaries
            if not self._warned:
                terminal.warn(
                    f"TensorBoard summaries are not in {self._target} ({one_line(error)})."
                    " The run itself needs none."
                )
            self._warned = True
        self._copied = time.monotonic()


def parameter_overview(params: Mapping[str, Any]) -> str:
    """A table of the parameters: name, shape, dtype, size, and the total.

    Args:
      params: Nested dict of arrays, numpy or jax, on any devices (they are not fetched).
    """
    return clu_parameter_overview.get_parameter_overview(params, include_stats=False)


def code_block(text: str) -> str:
    """Markdown that shows `text` in fixed width, as it is; TensorBoard would reflow it."""
    return f"```\n{text}\n```"
