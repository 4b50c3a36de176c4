"""Makes the data set of a run from a set that tensorflow_datasets (tfds) has prepared.

Any set with the features `image` and `label` will do. Its images are stored once, so that later
starts need no TensorFlow.
"""

import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cifsel.data import tfds_library
from cifsel.data.folders import store
from cifsel.data.folders.dataset import OwnSpec, make_dataset
from cifsel.data.photos import layout
from cifsel.data.splits import Dataset
from cifsel.errors import UserError, one_line
from cifsel.runtime.paths import expanded


def load_tfds(name: str, data_dir: str | None, spec: OwnSpec) -> Dataset:
    """Reads a prepared set, with its own splits where it has some of train, validation and test.

    Args:
      name: 'NAME', 'NAME/CONFIG', 'NAME:VERSION' or 'NAME/CONFIG:VERSION'. Without a version, the
        newest that is prepared.
      data_dir: folder of prepared tfds data. None for TFDS_DATA_DIR or tfds's default.
      spec: how to store and divide the images.

    Raises:
      UserError: there is no such set, or it has no images with labels, or it is damaged.
    """
    root = Path(expanded(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"))
    folder = _prepared(root, name)
    files = sorted(file for file in folder.iterdir() if file.is_file())
    key = [str(folder), *(f"{f.name} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files)]
    stored = store.load(key, lambda: _collect(folder), spec.side, spec.fit)
    return make_dataset(stored, dataclasses.replace(spec, source=f"tfds:{name}"))


def _prepared(root: Path, name: str) -> Path:
    """Finds the folder of a prepared set."""
    path, _, version = name.partition(":")
    parent = root / path
    versions = [
        folder
        for folder in (parent.iterdir() if parent.is_dir() else ())
        if re.fullmatch(r"\d+\.\d+\.\d+", folder.name) and (folder / "dataset_info.json").is_file()
    ]
    if version:
        versions = [folder for folder in versions if folder.name == version]
    if not versions:
        names = sorted(folder.name for folder in root.iterdir()) if root.is_dir() else []
        raise UserError(
            f"no tfds set {name} is prepared in {root}, which has"
            f" {', '.join(names[:8]) or 'nothing'};"
            f" prepare it by `tfds build {path}`, or give its folder with --config.data_dir=DIR"
        )
    return max(versions, key=lambda folder: tuple(map(int, folder.name.split("."))))


def _collect(folder: Path) -> store.Collection:
    with tfds_library.quiet():
        tfds = tfds_library.import_tfds(folder, "start once on a machine that has them")
        try:
            builder = tfds.builder_from_directory(os.fspath(folder))
            features, splits = builder.info.features, builder.info.splits
            named = [split for split in splits if layout.split_of(split)]
            shape, label_names = features["image"].shape, features["label"].names
            count = sum(splits[split].num_examples for split in named)
        # tfds and the layers below it raise many kinds of exceptions.
        except Exception as error:
            raise UserError(
                f"{folder}: not a tfds set of images with one label each ({one_line(error)});"
                " expected the features 'image' and 'label'"
            ) from error
    if not count:
        raise UserError(f"{folder}: splits {', '.join(splits) or 'none'}; expected train or test")
    side = None if None in shape[:2] else min(shape[:2])
    return store.Collection(count, _items(folder, tfds, builder, named, label_names), side)


def _items(
    folder: Path, tfds: Any, builder: Any, splits: list[str], label_names: list[str]
) -> Iterator[store.Item]:
    try:
        for split in splits:
            for number, example in enumerate(tfds_library.examples(tfds, builder, split)):
                yield store.Item(
                    name=f"{split}/{number}",
                    label=label_names[int(example["label"])],
                    split=layout.split_of(split) or "",
                    group="",
                    read=_reader(example["image"]),
                )
    except ImportError as error:
        raise tfds_library.no_reader(folder, builder.info.file_format.value, error) from error
    except Exception as error:  # Damage raises many kinds of exceptions.
        raise UserError(
            f"{folder} cannot be read as prepared tfds data ({one_line(error)}): prepare it again,"
            " or give another with --config.data_dir=DIR"
        ) from error


def _reader(image: np.ndarray) -> store.Read:
    rgb = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[:, :, :3]
    return lambda: (np.ascontiguousarray(rgb), "")
