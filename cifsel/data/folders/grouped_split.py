"""Divides labelled images into parts of which no two share a group."""

import numpy as np
from jaxtyping import Int

from cifsel.errors import UserError


def divide(
    labels: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    shares: tuple[float, ...],
    class_names: tuple[str, ...],
    seed: int,
) -> Int[np.ndarray, " n"]:
    """Assigns each image to a part, so that each part has its share of each class.

    Whole groups are assigned, the largest first and equal ones in random order. Each goes to the
    part that lacks most of its share of the group's classes.

    Args:
      labels: class of each image, 0..K-1.
      groups: number of the group of each image, 0..G-1.
      shares: of the parts, above 0. They sum to 1.
      class_names: K names, for messages.
      seed: of the random order.

    Returns:
      The part of each image.

    Raises:
      UserError: some part would have no image of some class.
    """
    classes = len(class_names)
    counts = np.zeros((groups.max() + 1, classes), np.int64)
    np.add.at(counts, (groups, labels), 1)
    _check_groups(counts, len(shares), class_names)
    per_class = np.maximum(counts.sum(0), 1)
    # The images of each class that each part still lacks, as a share of those it is to have. It
    # begins as 1, so that each part gets an image of a class before the largest part gets most.
    lacking = np.ones((len(shares), classes))
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(1), kind="stable")]
    part_of = np.empty(len(counts), np.int64)
    for group in order:
        present = counts[group] > 0
        weights = counts[group, present] / counts[group].sum()
        part = int(np.argmax(lacking[:, present] @ weights))
        part_of[group] = part
        lacking[part, present] -= counts[group, present] / per_class[present] / shares[part]
    parts = part_of[groups]
    _check_parts(parts, labels, len(shares), class_names)
    return parts


def _check_groups(
    counts: Int[np.ndarray, "groups classes"], parts: int, class_names: tuple[str, ...]
) -> None:
    present = (counts > 0).sum(0)
    for name, groups, images in zip(class_names, present, counts.sum(0), strict=True):
        if groups < parts:
            raise UserError(
                f"class '{name}' has {images} images, of which {groups} may be separated (copies,"
                f" bursts and groups stay together); a split into {parts} parts needs {parts}: add"
                " images, or give the parts yourself as train/, val/ and test/"
            )


def _check_parts(
    parts: Int[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    number: int,
    class_names: tuple[str, ...],
) -> None:
    counts = np.zeros((number, len(class_names)), np.int64)
    np.add.at(counts, (parts, labels), 1)
    if not counts.all():
        label = np.flatnonzero((counts == 0).any(0))[0]
        raise UserError(
            f"no split into {number} parts leaves images of class '{class_names[label]}' in each:"
            " its groups are too large or too few; add images, or give the parts yourself as"
            " train/, val/ and test/"
        )
