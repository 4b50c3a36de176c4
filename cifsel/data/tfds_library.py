"""The only importer of tensorflow_datasets (tfds), which reads prepared data and downloads them."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import logging
from etils import epath

from cifsel.errors import UserError, one_line

# Of tfds's file formats, the one that `as_dataset` does not read.
RANDOM_ACCESS_ONLY = "array_record"


def import_tfds(source: epath.Path | Path, instead: str) -> Any:
    """Imports tensorflow_datasets, with TensorFlow kept off the accelerators and the terminal.

    Args:
      source: folder of the data, for the message.
      instead: what to do without the library, for the message.

    Raises:
      UserError: it is not installed.
    """
    # TensorFlow reads both when it is loaded. oneDNN prints a line whatever the log level.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        import tensorflow as tf
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"{one_line(error)}: reading {source} the first time needs tensorflow-datasets and"
            f" TensorFlow; install them, or {instead}"
        ) from error
    # TensorFlow would take all of a GPU's memory. RuntimeError means that it has done so already.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
    tfds.disable_progress_bar()
    return tfds


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps tfds's messages off the terminal. They go through absl, as our own do."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def examples(tfds: Any, builder: Any, split: str) -> Iterator[dict[str, Any]]:
    """Yields the examples of a split in a fixed order, in the file format that they are in."""
    if builder.info.file_format.value == RANDOM_ACCESS_ONLY:
        source = builder.as_data_source(split=split)
        yield from (source[number] for number in range(len(source)))
        return
    # Files one after the other, so that the order is always the same.
    in_order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    dataset = builder.as_dataset(split=split, shuffle_files=False, read_config=in_order)
    yield from tfds.as_numpy(dataset)


def no_reader(folder: epath.Path | Path, file_format: str, error: ImportError) -> UserError:
    """The error for a file format that needs a package which is not installed."""
    return UserError(
        f"{folder} was written by tfds as {file_format}, which needs a package that is missing"
        f" ({one_line(error)}): install it, or prepare the data as tfrecord, tfds's default,"
        " and give their folder with --config.data_dir=DIR"
    )
