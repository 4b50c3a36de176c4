"""Labelled images as arrays, and their division into training, validation and test images."""

import dataclasses
import hashlib

import numpy as np
from jaxtyping import Float32, Int, Int32, Int64, UInt8

from cifsel.data.images_on_disk import ImagesOnDisk
from cifsel.errors import UserError
from cifsel.runtime import terminal


@dataclasses.dataclass(frozen=True)
class Split:
    """Labelled images that are used for one purpose.

    Attributes:
      images: RGB.
      labels: in 0..K-1.
      ids: the position of each image in the collection it was taken from. A prediction can be
          traced back to its image by it, whatever was left out or shuffled.
    """

    images: UInt8[np.ndarray, "n h w 3"] | ImagesOnDisk
    labels: Int32[np.ndarray, " n"]
    ids: Int32[np.ndarray, " n"]

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.labels) == len(self.ids):
            raise ValueError(
                f"images, labels and ids differ in length: "
                f"{len(self.images)}, {len(self.labels)}, {len(self.ids)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, positions: Int[np.ndarray, " m"]) -> "Split":
        """Returns the images at these positions, in this order."""
        images = self.images
        at = images.at(positions) if isinstance(images, ImagesOnDisk) else images[positions]
        return Split(at, self.labels[positions], self.ids[positions])


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set in three splits, with the names of its classes.

    Attributes:
      train: the parameters are fitted to these.
      val: choices are made on these: early stopping, hyper-parameters, the better model.
      test: these are scored once, at the end.
      class_names: K names, in the order of the labels.
      coarse_names: C names of groups of classes.
      coarse_of: the group of each class, an index into `coarse_names`.
      fingerprint: of all images, labels and ids. Two runs with the same fingerprint saw the
          same images under the same labels. Their predictions can be compared image by image.
      names: the path of each image, by its id. Empty for data sets without files.
      groups: the group of each image, by its id. No group is in two splits that were made here.
    """

    train: Split
    val: Split
    test: Split
    class_names: tuple[str, ...]
    coarse_names: tuple[str, ...]
    coarse_of: Int32[np.ndarray, " k"]
    fingerprint: str
    names: tuple[str, ...] = ()
    groups: Int32[np.ndarray, " all"] | None = None

    @property
    def labelling(
        self,
    ) -> tuple[tuple[str, ...], tuple[str, ...], Int32[np.ndarray, " k"] | None]:
        """The names of classes, those of their groups, and the group of each class, if any."""
        return self.class_names, self.coarse_names, self.coarse_of if self.coarse_names else None


def fingerprint(*splits: Split) -> str:
    """Computes a SHA-256 (hex) of shapes, types and bytes of images, labels and ids, in order."""
    return digest(*(a for split in splits for a in (split.images[:], split.labels, split.ids)))


def digest(*arrays: np.ndarray) -> str:
    """Computes a SHA-256 (hex) of shapes, types and bytes of arrays, in order."""
    sha256 = hashlib.sha256()
    for array in arrays:
        sha256.update(f"{array.dtype.str}{array.shape}".encode())
        sha256.update(np.ascontiguousarray(array).data)
    return sha256.hexdigest()


def balanced_weights(
    labels: Int[np.ndarray, " n"], num_classes: int
) -> Float32[np.ndarray, " {num_classes}"]:
    """Computes weights of classes with which all classes count the same. Their mean over n is 1."""
    counts = np.bincount(labels, minlength=num_classes)
    return (len(labels) / (num_classes * np.maximum(counts, 1))).astype(np.float32)


def stratified_split(
    labels: Int[np.ndarray, " n"], val_per_class: int, seed: int
) -> tuple[Int64[np.ndarray, " train"], Int64[np.ndarray, " val"]]:
    """Divides positions into training and validation, the latter with equally many of each class.

    The images drawn from one class depend on its own images and the seed only.

    Args:
      labels: class of each image.
      val_per_class: images of each class for validation, 0 or more.
      seed: 0 or more.

    Returns:
      Positions for training and for validation, each sorted.

    Raises:
      UserError: a class has too few images to leave one for training.
    """
    if val_per_class < 0:
        raise UserError(f"val_per_class is {val_per_class}: give 0 or more")
    val = [np.empty(0, np.int64)]
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if val_per_class >= len(members):
            raise UserError(
                f"val_per_class is {val_per_class}, but class {label} has"
                f" {terminal.count(len(members), 'image')}: give at most"
                f" {len(members) - 1}, so that training keeps one"
            )
        val.append(_generator(seed, int(label)).permutation(members)[:val_per_class])
    val_positions = np.sort(np.concatenate(val))
    return np.setdiff1d(np.arange(len(labels)), val_positions), val_positions


def take(
    split: Split, *, fraction: float = 1.0, examples: int = 0, seed: int, name: str = "train"
) -> Split:
    """Keeps part of a split, with equally many images of each class as far as possible.

    For one seed, the smaller of two subsets is part of the larger. The points of a learning curve
    then differ only by the images that were added.

    Args:
      split: the images to take from.
      fraction: in (0, 1], used when `examples` is 0. At least one image of each class stays.
      examples: the number of images to keep, at least one per class. 0 means by `fraction`.
      seed: 0 or more.
      name: of the split, for messages.

    Returns:
      The subset, in the order of `split`, or `split` itself if all of it is asked for.

    Raises:
      UserError: `fraction` or `examples` is out of range, or both are given.
    """
    classes, counts = np.unique(split.labels, return_counts=True)
    if not 0.0 < fraction <= 1.0:
        raise UserError(f"{name}_fraction is {fraction}: give more than 0 and at most 1")
    if examples and fraction != 1.0:
        raise UserError(
            f"{name}_examples is {examples} and {name}_fraction is {fraction}: give one of them"
        )
    if examples and not len(classes) <= examples <= len(split):
        raise UserError(
            f"{name}_examples is {examples}: give 0 for all, or {len(classes)} (one per class) "
            f"to {len(split)} (all there are)"
        )
    total = examples or max(len(classes), round(fraction * len(split)))
    if total == len(split):
        return split
    # Every image gets its rank within its class, in random order. Taking the lowest ranks takes
    # from all classes alike. If the last rank is not needed whole, classes are drawn at random.
    rank = np.empty(len(split), np.int64)
    for label, count in zip(classes, counts, strict=True):
        order = _generator(seed, int(label)).permutation(count)
        rank[np.flatnonzero(split.labels == label)[order]] = np.arange(count)
    tie = _generator(seed, -1).permutation(len(classes))[np.searchsorted(classes, split.labels)]
    return split.at(np.sort(np.lexsort((tie, rank))[:total]))


def subset(
    dataset: Dataset,
    *,
    train_fraction: float,
    train_examples: int,
    test_examples: int,
    seed: int,
) -> Dataset:
    """Keeps part of the training and test images by `take`, and computes the fingerprint anew.

    Raises:
      UserError: as `take`.
    """
    train = take(dataset.train, fraction=train_fraction, examples=train_examples, seed=seed)
    test = take(dataset.test, examples=test_examples, seed=seed, name="test")
    if train is dataset.train and test is dataset.test:
        return dataset
    if dataset.names:
        # The pixels are in the fingerprint already, and may be too many to read again.
        ids = hashlib.sha256(dataset.fingerprint.encode())
        ids.update(train.ids.tobytes() + b"test" + test.ids.tobytes())
        new_fingerprint = ids.hexdigest()
    else:
        new_fingerprint = fingerprint(train, dataset.val, test)
    return dataclasses.replace(dataset, train=train, test=test, fingerprint=new_fingerprint)


def _generator(seed: int, stream: int) -> np.random.Generator:
    """Makes an independent generator for each (seed, stream), with stream -1 or more."""
    if seed < 0:
        raise UserError(f"seed is {seed}: give 0 or more")
    return np.random.default_rng([seed, stream + 1])
