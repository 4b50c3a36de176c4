"""The 50 classes of CIFAR-100 that show animals and people.

Each image of CIFAR-100 has a fine label (one of 100) and a coarse label (one of 20, with five fine
labels each). Ten coarse labels are animals or people. Their 50 fine labels are read from the label
pairs of the images, then checked against the names below. A typing slip here or a changed order in
the data is therefore an error.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int32

from cifsel.errors import UserError

# Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and its web page, in
# the spelling of tensorflow_datasets.
_FINE_OF = {
    "aquatic_mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium_mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect_invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small_mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
}

ANIMALS_AND_PEOPLE: tuple[str, ...] = tuple(_FINE_OF)
CLASS_NAMES: tuple[str, ...] = tuple(sorted(name for five in _FINE_OF.values() for name in five))


@dataclasses.dataclass(frozen=True)
class Subset:
    """A selection of K classes. Label k of the selection is the k-th of them.

    Attributes:
      fine_ids: fine labels in CIFAR-100, ascending, which is alphabetical.
      class_names: K names, alphabetical.
      coarse_names: names of the groups of classes, alphabetical.
      coarse_of: the group of each class, an index into `coarse_names`.
    """

    fine_ids: Int32[np.ndarray, " k"]
    class_names: tuple[str, ...]
    coarse_names: tuple[str, ...]
    coarse_of: Int32[np.ndarray, " k"]

    def select(
        self, fine_labels: Int[np.ndarray, " n"]
    ) -> tuple[Int32[np.ndarray, " m"], Int32[np.ndarray, " m"]]:
        """Finds the images of these classes.

        Args:
          fine_labels: CIFAR-100's.

        Returns:
          Their positions, ascending, and their labels in 0..K-1.
        """
        positions = np.flatnonzero(np.isin(fine_labels, self.fine_ids))
        labels = np.searchsorted(self.fine_ids, fine_labels[positions])
        return positions.astype(np.int32), labels.astype(np.int32)


def animals_and_people(
    fine_names: Sequence[str],
    coarse_names: Sequence[str],
    fine_labels: Int[np.ndarray, " n"],
    coarse_labels: Int[np.ndarray, " n"],
) -> Subset:
    """Reads the 50 classes from the data's own label pairs and checks them by name.

    Args:
      fine_names: CIFAR-100's 100 names, in the order of the fine labels.
      coarse_names: its 20 coarse names, in the order of the coarse labels.
      fine_labels: of each image.
      coarse_labels: of the same images.

    Raises:
      UserError: the data are not CIFAR-100's. A coarse name is missing, a fine label comes with
          two coarse ones, or the classes of a coarse label are not the expected five.
    """
    missing = [name for name in ANIMALS_AND_PEOPLE if name not in coarse_names]
    if missing:
        raise UserError(f"the data set's coarse labels lack {', '.join(missing)}: not CIFAR-100?")
    pairs = _pairs(fine_names, fine_labels, coarse_labels)
    chosen = {}
    for index, coarse in enumerate(ANIMALS_AND_PEOPLE):
        for label in pairs[pairs[:, 1] == coarse_names.index(coarse), 0]:
            chosen[int(label)] = index
    for index, coarse in enumerate(ANIMALS_AND_PEOPLE):
        members = sorted(fine_names[label] for label, group in chosen.items() if group == index)
        if members != sorted(_FINE_OF[coarse]):
            raise UserError(
                f"the classes of {coarse} are {', '.join(members) or 'none'} in this data set, "
                f"expected {', '.join(_FINE_OF[coarse])}: not CIFAR-100?"
            )
    fine_ids = sorted(chosen)
    return Subset(
        fine_ids=np.array(fine_ids, np.int32),
        class_names=tuple(fine_names[label] for label in fine_ids),
        coarse_names=ANIMALS_AND_PEOPLE,
        coarse_of=np.array([chosen[label] for label in fine_ids], np.int32),
    )


def every_class(
    fine_names: Sequence[str],
    coarse_names: Sequence[str],
    fine_labels: Int[np.ndarray, " n"],
    coarse_labels: Int[np.ndarray, " n"],
) -> Subset:
    """Selects all classes, in their 20 groups. The arguments are those of `animals_and_people`.

    Raises:
      UserError: a fine label comes with two coarse ones, or some class has no images.
    """
    pairs = _pairs(fine_names, fine_labels, coarse_labels)
    if len(pairs) != len(fine_names):
        raise UserError(f"{len(pairs)} of {len(fine_names)} classes have images: not CIFAR-100?")
    return Subset(
        fine_ids=pairs[:, 0].astype(np.int32),
        class_names=tuple(fine_names),
        coarse_names=tuple(coarse_names),
        coarse_of=pairs[:, 1].astype(np.int32),
    )


def _pairs(
    fine_names: Sequence[str],
    fine_labels: Int[np.ndarray, " n"],
    coarse_labels: Int[np.ndarray, " n"],
) -> Int[np.ndarray, "k 2"]:
    """Finds the coarse label of each fine label that occurs, by ascending fine label."""
    pairs = np.unique(np.stack([fine_labels, coarse_labels], axis=1), axis=0)
    fine, times = np.unique(pairs[:, 0], return_counts=True)
    if (times > 1).any():
        name = fine_names[int(fine[times > 1][0])]
        raise UserError(f"fine label {name} comes with two coarse labels: the data set is damaged")
    return pairs
