"""Tells photos that a model has learned from, by a digest of their pixels.

A photo keeps its digest when it is renamed, or loses its metadata. A copy that was resized or
compressed again has another one. From a digest nobody can draw the photo, so that checkpoints with
digests can be passed on. The thumbnails that find near copies would show the people.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from cifsel.workdir.model_meta import SeenPhoto

_LENGTH = 32  # hexadecimal digits


def digest(pixels: UInt8[np.ndarray, "h w 3"]) -> str:
    """The digest of a decoded photo."""
    content = f"{pixels.shape}".encode() + np.ascontiguousarray(pixels).tobytes()
    return hashlib.sha256(content).hexdigest()[:_LENGTH]


def find(pixels: UInt8[np.ndarray, "h w 3"], seen: Sequence[SeenPhoto]) -> SeenPhoto | None:
    """The photo of training with these pixels. None for a new one."""
    if not seen:
        return None
    wanted = digest(pixels)
    return next((photo for photo in seen if photo.digest == wanted), None)
