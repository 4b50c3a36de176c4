"""How far photos are from those that a classifier was made from, when they are held out."""

import numpy as np
from jaxtyping import Float, Int

from cifsel.evaluation.distances import Typical


def largest_distance(pooled: Float[np.ndarray, "n c"], groups: Int[np.ndarray, " n"]) -> float:
    """The largest distance of a photo from all photos of other groups.

    Of new photos like these, about one in N + 1 is further away.

    Args:
      pooled: features of all photos, averaged over positions.
      groups: the groups that are held out together.
    """
    distances = []
    for group in np.unique(groups):
        held_out = groups == group
        distances.append(Typical.of(pooled[~held_out]).distances(pooled[held_out]).max())
    return float(max(distances))
