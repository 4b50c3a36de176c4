"""The photos of a run by name, label and group. No pixels."""

import dataclasses
from datetime import datetime

import numpy as np
from jaxtyping import Int

from cifsel.data.photos.crops import Box

# Which new photos the score is about: others of these people, of other days, or of other people.
PHOTOS, DAYS, PEOPLE = "photos", "days", "people"


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoSet:
    """N photos of K classes. It holds no pixels, so that a report about it shows no photo.

    Attributes:
      class_names: K names.
      names: the paths of the photos within their folder.
      labels: (N,), 0..K-1.
      groups: (N,), 0..G-1. Photos of one group are copies, a burst or of one person.
      taken: the time at which each photo was taken. None where its file does not say.
      skipped: 'name: reason' for each file that was left out.
      copies: (i, j, exact) for each pair of photos that are copies. Near copies are not exact.
      crop: the part of a photo that the model is shown, one of `crops.CROPS`.
      faces: the box of each face in its photo. None where none was found or looked for.
      asked: PHOTOS, DAYS or PEOPLE.
    """

    class_names: tuple[str, ...]
    names: tuple[str, ...]
    labels: Int[np.ndarray, " n"]
    groups: Int[np.ndarray, " n"]
    taken: tuple[datetime | None, ...]
    skipped: tuple[str, ...]
    copies: tuple[tuple[int, int, bool], ...]
    crop: str
    faces: tuple[Box | None, ...]
    asked: str

    @property
    def count(self) -> int:
        """N."""
        return len(self.names)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def per_class(self) -> dict[str, int]:
        """The number of photos of each class, by its name."""
        counts = np.bincount(self.labels, minlength=self.num_classes).tolist()
        return dict(zip(self.class_names, counts, strict=True))

    @property
    def group_count(self) -> int:
        """G."""
        return int(self.groups.max()) + 1

    @property
    def day_counts(self) -> list[int]:
        """The number of days of each class on which its photos were taken, as far as is known."""
        return [
            len(
                {
                    time.date()
                    for time, own in zip(self.taken, self.labels, strict=True)
                    if time and own == k
                }
            )
            for k in range(self.num_classes)
        ]

    @property
    def majority_share(self) -> float:
        """The accuracy of always answering with the most frequent class."""
        return max(self.per_class.values()) / self.count
