"""Which 50 of CIFAR-100's classes: the animals and the people.

CIFAR-100 gives each image a fine label (100) and a coarse one (20, five fine labels each). Ten of
the coarse labels are animals and people. The 50 are derived from the label pairs of the images
themselves and then checked against the names below, so that neither a typing slip here nor a
changed order in the data can pass unnoticed.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

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
    """A selection of classes; label k of the selection is the k-th of them.

    Attributes:
      fine_ids: int32 (50,), fine labels in CIFAR-100, ascending (which is alphabetical).
      class_names: 50 names, alphabetical.
      coarse_names: 10 names, alphabetical.
      coarse_of: int32 (50,), index into `coarse_names` of each class.
    """

    fine_ids: np.ndarray
    class_names: tuple[str, ...]
    coarse_names: tuple[str, ...]
    coarse_of: np.ndarray

    def select(self, fine_labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Finds the images of these classes.

        Args:
          fine_labels: integer (N,), CIFAR-100's.

        Returns:
          Their positions, int32 (M,), ascending, and their labels in 0..49, int32 (M,).
        """
        positions = np.flatnonzero(np.isin(fine_labels, self.fine_ids))
        labels = np.searchsorted(self.fine_ids, fine_labels[positions])
        return positions.astype(np.int32), labels.astype(np.int32)


def animals_and_people(
    fine_names: Sequence[str],
    coarse_names: Sequence[str],
    fine_labels: np.ndarray,
    coarse_labels: np.ndarray,
) -> Subset:
    """Derives the 50 classes from the data's own label pairs and checks them by name.

    Args:
      fine_names: CIFAR-100's 100 names, in the order of the fine labels.
      coarse_names: its 20 coarse names, in the order of the coarse labels.
      fine_labels: integer (N,), of each image.
      coarse_labels: integer (N,), of the same images.

    Raises:
      UserError: the data are not CIFAR-100's: a coarse name is missing, a fine label comes with
          two coarse ones, or the classes of a coarse label are not the expected five.
    """
    missing = [name for name in ANIMALS_AND_PEOPLE if name not in coarse_names]
    if missing:
        raise UserError(f"the data set's coarse labels lack {', '.join(missing)}: not CIFAR-100?")
    pairs = np.unique(np.stack([fine_labels, coarse_labels], axis=1), axis=0)
    fine, times = np.unique(pairs[:, 0], return_counts=True)
    if (times > 1).any():
        name = fine_names[int(fine[times > 1][0])]
        raise UserError(f"fine label {name} comes with two coarse labels: the data set is damaged")
    chosen = {}
    for index, coarse in enumerate(ANIMALS_AND_PEOPLE):
        for label in pairs[pairs[:, 1] == coarse_names.index(coarse), 0]:
            chosen[int(label)] = index
    for index, coarse in enumerate(ANIMALS_AND_PEOPLE):
        found = sorted(fine_names[label] for label, group in chosen.items() if group == index)
        if found != sorted(_FINE_OF[coarse]):
            raise UserError(
                f"the classes of {coarse} are {', '.join(found) or 'none'} in this data set, "
                f"expected {', '.join(_FINE_OF[coarse])}: not CIFAR-100?"
            )
    fine_ids = sorted(chosen)
    return Subset(
        fine_ids=np.array(fine_ids, np.int32),
        class_names=tuple(fine_names[label] for label in fine_ids),
        coarse_names=ANIMALS_AND_PEOPLE,
        coarse_of=np.array([chosen[label] for label in fine_ids], np.int32),
    )
