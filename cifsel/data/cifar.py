"""Reads CIFAR-100 into arrays, its animals and people or all of its classes.

The first read goes through tensorflow_datasets (tfds). If the data are not prepared yet, tfds
downloads the archive and checks its SHA-256. The 50 classes are then kept in one .npz file. Later
starts read this file and need no TensorFlow. It lies beside the data, as
`<data_dir>/cifsel-cifar100-3.0.2-v1.npz`, or in the user's cache folder if the data folder is not
writable. On a machine without TensorFlow, copy the file into the `data_dir`.
"""

import contextlib
import os
import tempfile
import urllib.error
import urllib.request
from typing import Any

import numpy as np
from etils import epath

from cifsel.data import cifar_cache, cifar_classes, splits, tfds_library
from cifsel.errors import UserError, one_line
from cifsel.runtime import remote
from cifsel.runtime.paths import expanded

_NAME, _VERSION = "cifar100", "3.0.2"
_CACHED = f"{_NAME}-{_VERSION}"
_SIZES = {"train": 50_000, "test": 10_000}
_MIRROR = f"https://storage.googleapis.com/tfds-data/datasets/{_NAME}/{_VERSION}/dataset_info.json"


def load_cifar(
    data_dir: str | None,
    *,
    all_classes: bool = False,
    try_gcs: bool = False,
    val_per_class: int = 50,
    seed: int = 0,
    cache_dir: str | None = None,
) -> splits.Dataset:
    """Reads CIFAR-100's 50 classes of animals and people, 450 + 50 + 100 images of each by default.

    Args:
      data_dir: folder of prepared tfds data, local or gs://. Data that are not there are
          downloaded to it. None means the environment's TFDS_DATA_DIR, else ~/tensorflow_datasets.
      all_classes: read all 100 classes, not the 50 of animals and people.
      try_gcs: download the prepared data from tfds's public bucket, not the archive from its
          author. This is quicker on Google Cloud.
      val_per_class: how many of the 500 training images of a class are set apart for validation.
      seed: of the division into training and validation. Nothing else depends on it.
      cache_dir: folder for the arrays that cannot be cached beside the data. None means
          `cache.folder()`.

    Returns:
      Images of 32 x 32 pixels. The ids are the numbers in tfds's own ids ("train_16399"), which are
      positions in the original archive. Each split is in their order.

    Raises:
      UserError: no data and no way to download them, or data that are damaged or not CIFAR-100.
    """
    source = _source(data_dir)
    caches = cifar_cache.files(source, f"{_CACHED}-all" if all_classes else _CACHED, cache_dir)
    arrays = cifar_cache.read(caches)
    if arrays is None or not _has_classes(arrays, all_classes):
        read = _read_copied if remote.is_remote(source) else _read_tfds
        arrays = read(source, try_gcs, all_classes)
        cifar_cache.write(arrays, caches)
    train = splits.Split(arrays["train_images"], arrays["train_labels"], arrays["train_ids"])
    test = splits.Split(arrays["test_images"], arrays["test_labels"], arrays["test_ids"])
    kept, held_out = splits.stratified_split(train.labels, val_per_class, seed)
    parts = train.at(kept), train.at(held_out), test
    return splits.Dataset(
        *parts,
        class_names=tuple(arrays["class_names"].tolist()),
        coarse_names=tuple(arrays["coarse_names"].tolist()),
        coarse_of=arrays["coarse_of"],
        fingerprint=splits.fingerprint(*parts),
    )


def _has_classes(arrays: dict[str, np.ndarray], all_classes: bool) -> bool:
    """Whether a cached file has the right classes. Their list may have been changed since."""
    names = tuple(arrays["class_names"].tolist())
    return len(names) == 100 if all_classes else names == cifar_classes.CLASS_NAMES


def _source(data_dir: str | None) -> epath.Path:
    given = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return remote.absolute(remote.place(expanded(given)))


def _read_copied(
    source: epath.Path, try_gcs: bool, all_classes: bool = False
) -> dict[str, np.ndarray]:
    """Reads data on gs:// by `_read_tfds`, through a local copy.

    TensorFlow would read records on gs:// by means of its own. If the data are not there, they are
    downloaded here and then copied there.
    """
    remote.reach(source)
    last = "dataset_info.json"
    with tempfile.TemporaryDirectory(prefix="cifsel-") as folder:
        there, here = (root / _NAME / _VERSION for root in (source, epath.Path(folder)))
        prepared = remote.copy(there, here, last=last)
        try:
            arrays = _read_tfds(epath.Path(folder), try_gcs, all_classes)
        except UserError as error:
            raise UserError(str(error).replace(folder, os.fspath(source))) from error
        if not prepared:
            remote.copy(here, there, last=last)
    return arrays


def _read_tfds(
    source: epath.Path, try_gcs: bool, all_classes: bool = False
) -> dict[str, np.ndarray]:
    """Reads the data at `source`, prepares them if they are not there, keeps the 50 classes."""
    with tfds_library.quiet():
        name = cifar_cache.files(source, _CACHED, None)[0].name
        tfds = tfds_library.import_tfds(
            source,
            f"copy {name} from a machine that has them into the folder given with"
            " --config.data_dir=DIR",
        )
        folder = source / _NAME / _VERSION
        try:
            builder = tfds.builder(f"{_NAME}:{_VERSION}", data_dir=os.fspath(source))
            prepared = folder.exists()
        # tfds and the layers below it raise many kinds of exceptions for damaged files.
        except Exception as error:
            raise UserError(_unreadable(folder, error)) from error
        if not prepared:
            _prepare(tfds, source, try_gcs, list(builder.url_infos))
            builder = tfds.builder(f"{_NAME}:{_VERSION}", data_dir=os.fspath(source))

        try:
            raw = {name: _read_split(tfds, builder, name) for name in _SIZES}
            names = {key: builder.info.features[key].names for key in ("label", "coarse_label")}
            for name, size in _SIZES.items():
                if len(raw[name]["label"]) != size:
                    raise ValueError(f"{len(raw[name]['label'])} {name} images, expected {size}")
            return _select(raw, names["label"], names["coarse_label"], all_classes)
        except UserError:
            raise
        except ImportError as error:
            file_format = builder.info.file_format.value
            raise tfds_library.no_reader(folder, file_format, error) from error
        except Exception as error:
            raise UserError(_unreadable(folder, error)) from error


def _read_split(tfds: Any, builder: Any, name: str) -> dict[str, np.ndarray]:
    """Reads a split as a whole, in the file format that it was written in, with N in front."""
    if builder.info.file_format.value != tfds_library.RANDOM_ACCESS_ONLY:
        # The whole split, 154 MB, as one batch is three times quicker than image by image.
        return tfds.as_numpy(builder.as_dataset(split=name, batch_size=-1))
    examples = list(tfds_library.examples(tfds, builder, name))
    return {key: np.array([example[key] for example in examples]) for key in examples[0]}


def _select(
    raw: dict[str, dict[str, np.ndarray]],
    fine_names: list[str],
    coarse_names: list[str],
    all_classes: bool,
) -> dict[str, np.ndarray]:
    """Returns the arrays to cache: the classes of both splits, in the order of the archive."""
    fine, coarse = (
        np.concatenate([raw[name][key] for name in _SIZES]) for key in ("label", "coarse_label")
    )
    choose = cifar_classes.every_class if all_classes else cifar_classes.animals_and_people
    chosen = choose(fine_names, coarse_names, fine, coarse)
    arrays = {
        "class_names": np.array(chosen.class_names),
        "coarse_names": np.array(chosen.coarse_names),
        "coarse_of": chosen.coarse_of,
    }
    for name in _SIZES:
        ids = np.array([int(text.split(b"_")[1]) for text in raw[name]["id"]], np.int32)
        order = np.argsort(ids)
        positions, labels = chosen.select(raw[name]["label"][order])
        arrays[f"{name}_images"] = raw[name]["image"][order[positions]]
        arrays[f"{name}_labels"] = labels
        arrays[f"{name}_ids"] = ids[order[positions]]
    return arrays


def _prepare(tfds: Any, source: epath.Path, try_gcs: bool, urls: list[str]) -> None:
    """Downloads and prepares in a folder of its own, and moves it into place when complete."""
    # tfds retries for minutes before it says that there is no network.
    if not any(_reachable(url) for url in [*urls, *([_MIRROR] if try_gcs else [])]):
        raise UserError(
            f"no CIFAR-100 in {source} ({_NAME}/{_VERSION} not found) and no network to download "
            f"it: set TFDS_DATA_DIR to the folder of prepared tfds data (or --config.data_dir), "
            f"or try configs/quickstart.py, which needs no data"
        )
    existing = next(folder for folder in [source, *source.parents] if folder.exists())
    work = source / f"cifsel-incomplete-{os.getpid()}"
    try:
        work.mkdir(parents=True)
        config = tfds.download.DownloadConfig(try_download_gcs=try_gcs)
        builder = tfds.builder(f"{_NAME}:{_VERSION}", data_dir=os.fspath(work))
        tfds.enable_progress_bar()
        builder.download_and_prepare(download_config=config)
        (source / _NAME).mkdir(parents=True, exist_ok=True)
        (work / _NAME / _VERSION).rename(source / _NAME / _VERSION)
    except Exception as error:
        raise UserError(
            f"CIFAR-100 could not be downloaded to {source} ({one_line(error)}): try again, or "
            f"give prepared tfds data with --config.data_dir=DIR, or try configs/quickstart.py"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            work.rmtree()
        for folder in [source, *source.parents]:
            if folder == existing:
                break
            # After a successful download it is not empty, for which epath raises ValueError.
            with contextlib.suppress(OSError, ValueError):
                folder.rmdir()


def _reachable(url: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=10):
            return True
    except urllib.error.HTTPError:
        return True  # The server answers. tfds reports how it answers to a download.
    except OSError:
        return False


def _unreadable(folder: epath.Path, error: Exception) -> str:
    return (
        f"{folder} cannot be read as prepared tfds data ({one_line(error)}): delete that folder to "
        f"have it downloaded again, or give another with --config.data_dir=DIR"
    )
