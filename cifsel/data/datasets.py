"""The data sets by name: reads or draws the images of a run, with their split."""

import dataclasses

from cifsel.data import cifar, drawn_images, folders, splits
from cifsel.data.folders import OwnSpec
from cifsel.runtime.terminal import count, say

TFDS = "tfds:"


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """The images that a run asks for. The fields are those of a config.

    Attributes:
      name: 'cifar100' (its animals and people), 'cifar100:all', 'drawn', 'folder' or 'tfds:NAME'.
      data_dir: folder of prepared tfds data. None for TFDS_DATA_DIR or tfds's default.
      try_gcs: download from tfds's public bucket.
      val_per_class: validation images per class. CIFAR-100's are taken from the training images.
      train_fraction: share of the training images to use, stratified.
      train_examples: number of training images to use, stratified. 0 for all.
      test_examples: number of test images to use, stratified. 0 for all.
      seed: of the split and of subsets.
      own: how to read and divide a folder, or a set of tfds.
    """

    name: str
    data_dir: str | None
    try_gcs: bool
    val_per_class: int
    train_fraction: float
    train_examples: int
    test_examples: int
    seed: int
    own: OwnSpec


def load_dataset(spec: DatasetSpec) -> splits.Dataset:
    """Reads or draws the images, and says how many there are.

    Raises:
      UserError: the data cannot be read, or have fewer images than are asked for.
    """
    whole = _whole(spec)
    dataset = splits.subset(
        whole,
        train_fraction=spec.train_fraction,
        train_examples=spec.train_examples,
        test_examples=spec.test_examples,
        seed=spec.seed,
    )
    say(
        f"{len(dataset.train):,} training, {len(dataset.val):,} validation and"
        f" {count(len(dataset.test), 'test image')} of"
        f" {count(len(dataset.class_names), 'class', 'classes')}"
    )
    return dataset


def _whole(spec: DatasetSpec) -> splits.Dataset:
    if spec.name == "drawn":
        say("drawing 50 classes of synthetic images (these are not photographs)")
        return drawn_images.draw_classes(
            train_per_class=100,
            val_per_class=spec.val_per_class,
            test_per_class=40,
            seed=spec.seed,
        )
    if spec.name == "folder":
        say(f"reading {spec.own.source}")
        return folders.load_folder(spec.own)
    if spec.name.startswith(TFDS):
        say(f"reading {spec.name}")
        return folders.load_tfds(spec.name.removeprefix(TFDS), spec.data_dir, spec.own)
    all_classes = spec.name == "cifar100:all"
    say("reading CIFAR-100" if all_classes else "reading CIFAR-100's animals and people")
    return cifar.load_cifar(
        spec.data_dir,
        all_classes=all_classes,
        try_gcs=spec.try_gcs,
        val_per_class=spec.val_per_class,
        seed=spec.seed,
    )
