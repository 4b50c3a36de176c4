"""How far images are from those that a classifier was made from, by their features."""

import numpy as np
from jaxtyping import Float, Float32

# A channel that varies less than this share of the usual variation would count too much.
_LEAST_SPREAD = 0.1


class Typical:
    """The features of the images that a classifier was made from: mean and spread by channel.

    Attributes:
      mean: of each channel.
      spread: the standard deviation of each channel, not too small.
    """

    def __init__(self, mean: Float32[np.ndarray, " c"], spread: Float32[np.ndarray, " c"]) -> None:
        self.mean, self.spread = mean, spread

    @classmethod
    def of(cls, features: Float[np.ndarray, "n c"]) -> "Typical":
        """The mean and spread of images."""
        spread = features.std(0, dtype=np.float64)
        least = _LEAST_SPREAD * float(np.median(spread)) + 1e-12
        mean = features.mean(0, dtype=np.float64)
        return cls(mean.astype(np.float32), np.maximum(spread, least).astype(np.float32))

    def distances(self, features: Float[np.ndarray, "n c"]) -> Float[np.ndarray, " n"]:
        """The distance of images: root mean square over channels, in standard deviations."""
        return np.sqrt((((features - self.mean) / self.spread) ** 2).mean(1, dtype=np.float64))
